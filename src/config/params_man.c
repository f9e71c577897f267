/* params_man.c - writes gatepost-parameters(5), in mdoc(7), from the parameter table. Run by the build. */
#include "config/params.h"

#include <stdio.h>
#include <string.h>

static const char intro[] = ".Dd November 22, 2026\n"
                            ".Dt GATEPOST-PARAMETERS 5\n"
                            ".Os gatepost\n"
                            ".Sh NAME\n"
                            ".Nm gatepost-parameters\n"
                            ".Nd parameters of gatepost's main.cf\n"
                            ".Sh DESCRIPTION\n"
                            "The file\n"
                            ".Pa main.cf\n"
                            "holds lines of\n"
                            ".Ql name = value .\n"
                            "Lines that are blank or begin with\n"
                            ".Ql #\n"
                            "are ignored, and a line that begins with white space continues the one before.\n"
                            "In\n"
                            ".Pa master.cf ,\n"
                            ".Ql -o name=value\n"
                            "sets a parameter for one service.\n"
                            "The names, forms and defaults are those of Postfix in its newest release;\n"
                            "parameters of gatepost alone are marked as\n"
                            ".Dq gatepost only .\n"
                            ".Pp\n"
                            "A value may refer to another parameter:\n"
                            ".Bl -tag -width Ds\n"
                            ".It Li $name , Li ${name} , Li $(name)\n"
                            "The value of that parameter.\n"
                            ".It Li ${name?text} , Li ${name?{text}}\n"
                            "The text, if the value is not empty.\n"
                            ".It Li ${name:text} , Li ${name:{text}}\n"
                            "The text, if the value is empty.\n"
                            ".It Li ${name?{one}:{other}}\n"
                            "Either of two texts.\n"
                            ".It Li ${{a} == {b} ? {one} : {other}}\n"
                            "The same by a comparison with\n"
                            ".Li == , != , < , <= , >=\n"
                            "or\n"
                            ".Li > ;\n"
                            "with\n"
                            ".Li level\n"
                            "behind the operator, of release levels such as 3.6.\n"
                            ".It Li ${domain_to_ascii{text}}\n"
                            "A domain in its ASCII form.\n"
                            ".It Li $$\n"
                            "One\n"
                            ".Li $ .\n"
                            ".El\n"
                            ".Pp\n"
                            "A time is a number with one of the units\n"
                            ".Li s , m , h , d , w ;\n"
                            "without a unit it has that of the default.\n"
                            "Lists are separated by commas or blanks.\n"
                            ".Pp\n"
                            "A parameter marked as\n"
                            ".Dq not supported yet\n"
                            "is known, but gatepost lacks what it is for: setting it brings a warning.\n"
                            "Where mail would pass unprotected without it, gatepost does not start while it is set;\n"
                            "such a parameter is marked as\n"
                            ".Dq refused when set .\n"
                            "A parameter marked as\n"
                            ".Dq no effect\n"
                            "is about something that gatepost does in another way.\n";

/* Text that no formatter takes for a request or an escape. */
static void put_text(const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\n')
            putchar(' ');
        else
            putchar(*text);
    }
}

static void put_default(const Param *param)
{
    if (!param->default_text)
        fputs("Default: found out at the start.\n", stdout);
    else if (!*param->default_text)
        fputs("Default: empty.\n", stdout);
    else {
        fputs("Default:\n.Sm off\n.No ", stdout);
        putchar('"');
        for (const char *at = param->default_text; *at; at++) { /* a quote would end the macro's argument */
            if (*at == '"')
                fputs("\\(dq", stdout);
            else if (*at == '\\')
                fputs("\\e", stdout);
            else if (*at == '-')
                fputs("\\-", stdout);
            else
                putchar(*at);
        }
        fputs("\" .\n.Sm on\n", stdout);
    }
}

static void put_range(const Param *param)
{
    long long min = param->min, max = param->max;

    if (max == G_MAXINT64)
        max = 0;
    if (min > 0 && max > 0)
        printf(", from %lld to %lld", min, max);
    else if (max > 0)
        printf(", up to %lld", max);
    else if (min > 0)
        printf(", at least %lld", min);
}

static void put_type(const Param *param)
{
    switch (param->type) {
    case PARAM_STRING:
    case PARAM_RAW:
        fputs(param->type == PARAM_RAW ? "Text with its own names behind $" : "Text", stdout);
        if (param->min > 0)
            fputs(", not empty", stdout);
        break;
    case PARAM_HOSTNAME:
        fputs("Host name", stdout);
        break;
    case PARAM_BOOL:
        fputs("yes or no", stdout);
        break;
    case PARAM_INT:
        fputs("Number", stdout);
        put_range(param);
        break;
    case PARAM_TIME:
        fputs("Time", stdout);
        put_range(param);
        if (param->min > 0 || param->max > 0)
            fputs(" s", stdout);
        break;
    case PARAM_WORDS:
    case PARAM_ENUM:
        fputs(param->type == PARAM_ENUM ? "One of: " : "Any of: ", stdout);
        put_text(param->words);
        break;
    }
    fputs(".\n", stdout);
}

static void put_param(const Param *param)
{
    printf(".It Va %s\n", param->name);
    put_text(param->help);
    fputs(".\n", stdout);
    put_type(param);
    put_default(param);
    if (param->since && strcmp(param->since, "ours") == 0)
        fputs("Gatepost only.\n", stdout);
    else if (param->since)
        printf("As in Postfix since %s.\n", param->since);
    if (param->support == PARAM_UNSUPPORTED)
        fputs(".Em Not supported yet .\n", stdout);
    else if (param->support == PARAM_PROTECTS)
        fputs(".Em Not supported yet, and refused when set .\n", stdout);
    else if (param->support == PARAM_NO_EFFECT)
        fputs(".Em \"No effect\" .\n", stdout);
}

static void put_suffixes(void)
{
    fputs(".Sh PARAMETERS OF TRANSPORTS\n"
          "The following exist for each transport of\n"
          ".Pa master.cf ,\n"
          "whose name stands in front. The default is the value of the parameter named.\n"
          ".Bl -tag -width Ds\n",
          stdout);
    for (size_t i = 0; i < param_suffix_count; i++) {
        printf(".It Ar transport Ns Va %s\n", param_suffixes[i].suffix);
        put_text(param_suffixes[i].help);
        printf(".\nDefault:\n.Va $%s .\n", param_suffixes[i].source);
    }
    fputs(".El\n", stdout);
}

int main(void)
{
    fputs(intro, stdout);
    for (size_t i = 0; i < param_group_count; i++) {
        g_autofree char *title = g_ascii_strup(param_groups[i].title, -1);
        printf(".Sh %s\n.Bl -tag -width Ds\n", title);
        for (size_t j = 0; j < *param_groups[i].count; j++)
            put_param(&param_groups[i].rows[j]);
        fputs(".El\n", stdout);
    }
    put_suffixes();
    fputs(".Sh SEE ALSO\n.Xr gatepost 8\n", stdout);
    return fflush(stdout) == 0 ? 0 : 1;
}
