/* SPDX-License-Identifier: MIT */
/* The qorus command: finds the subcommand, and helps. */
#include "host.h"

#include <string.h>

typedef struct command {
    const char *name;
    const char *usage;
    const char *does;
    uint32_t options;
    int (*run)(const char *const *words, uint32_t n);
} command;

static const command commands[] = {
#ifndef Q_REAL_DOUBLE /* files of data and of answers hold floats */
    {"run", "MODEL [-p TEXT | -f FILE | --input FILE]", "continues a text, or answers samples", FOR_RUN, command_run},
    {"tokenize", "MODEL [-p TEXT | -f FILE] [--decode]", "text to ids, or ids to text; - is standard input",
     FOR_TOKENIZE, command_tokenize},
    {"inspect", "FILE [--verify] [--json]", "shows what a .qorus or .qtok file holds", FOR_INSPECT, command_inspect},
    {"chat", "MODEL [--system TEXT] [options]", "holds a conversation", FOR_CHAT, command_chat},
    {"bench", "MODEL [-p N] [-n N] [-r N] [options]", "measures prefill and decode", FOR_BENCH, command_bench},
    {"perplexity", "MODEL FILE [--ctx N] [options]", "measures how well a model predicts a text", FOR_PERPLEXITY,
     command_perplexity},
    {"plan", "MODEL [options]", "prints the exact bytes a model needs, step by step", FOR_PLAN, command_plan},
    {"quantize", "IN OUT TYPE [--adapter FILE]", "rewrites the matrices: q4_0, q4_1, q8_0, f16, bf16, f32", FOR_QUANTIZE,
     command_quantize},
    {"train", "[CONFIG] [--key value ...]", "trains a network on samples or a text", 0, command_train},
    {"conform", "[MODEL] [--vectors FILE] [options]", "checks the bits this machine computes", FOR_CONFORM,
     command_conform},
#endif
    {"gradcheck", "MODEL|CONFIG [--samples N] [options]", "gradients against differences of the loss, parameter by parameter",
     FOR_GRADCHECK, command_gradcheck},
};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]), MAX_WORDS = 256 };

static void print_line(void *user, const char *line)
{
    (void)fprintf((FILE *)user, "%s\n", line);
}

static void usage(FILE *to)
{
    (void)fprintf(to, "usage: qorus COMMAND ...\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        (void)fprintf(to, "  %-11s %-42s %s\n", commands[i].name, commands[i].usage, commands[i].does);
    }
    (void)fprintf(to, "\nqorus COMMAND --help lists the options of a command. Results go to stdout, progress and\n"
                      "figures to stderr. Exit status: 0 done, 1 the work failed, 2 bad usage.\n");
}

static int help(const command *c)
{
    (void)printf("usage: qorus %s %s\n\n%s\n\n", c->name, c->usage, c->does);
    if (c->run == command_train) {
        train_help();
    } else {
        options_help(c->options, print_line, stdout);
    }
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    const char *words[MAX_WORDS];
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    if (argc > 2 && strcmp(argv[1], "help") == 0) {
        argv[1] = argv[2];
        argv[2] = (char *)(uintptr_t)"--help";
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        uint32_t v = q_version();
        (void)printf("qorus %u.%u.%u\n", v >> 16, v >> 8 & 255u, v & 255u);
        return EXIT_DONE;
    }
    if (argc - 2 > MAX_WORDS) {
        say("too many words");
        return EXIT_USAGE;
    }
    for (int i = 2; i < argc; i++) {
        words[i - 2] = argv[i];
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) != 0) {
            continue;
        }
        for (int k = 2; k < argc; k++) {
            if (strcmp(argv[k], "--help") == 0) {
                return help(&commands[i]);
            }
        }
        return commands[i].run(words, (uint32_t)(argc - 2));
    }
    say("unknown command '%s'; qorus --help lists them", argv[1]);
    return EXIT_USAGE;
}
