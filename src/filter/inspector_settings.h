/* inspector_settings.h - the elements of filter_inspectors, as text. Their syntax stands in inspector.h. */
#pragma once
#include "filter/inspector.h"

/* element: one of config_split()'s, braces included. NULL: error. config outlives the settings. */
InspectorSettings *inspector_settings_new(const char *element, const Config *config, GError **error);
void inspector_settings_free(InspectorSettings *settings);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(InspectorSettings, inspector_settings_free)

const char *inspector_settings_kind(const InspectorSettings *settings);
/* A value that stands in front of the attributes gets this name. False: there is one, and name is NULL. */
bool inspector_settings_name_value(InspectorSettings *settings, const char *name, GError **error);
/* False: an attribute that nobody asked for. */
bool inspector_settings_all_known(const InspectorSettings *settings, GError **error);
