/* sandbox_files.h - Landlock's half of sandbox.h, for sandbox.c alone. */
#pragma once
#include "base/sandbox.h"

/* Makes what was wished for the only thing that is possible. A kernel that has no Landlock does nothing. */
bool sandbox_files_enter(GError **error);
