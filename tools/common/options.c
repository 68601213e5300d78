/* SPDX-License-Identifier: MIT */
/* Reading options: one table of names, kinds and places, and the numbers in them. */
#include "options.h"

#include "backends.h"
#include "qorus/base/mem.h"
#include "qorus/base/text.h"

typedef enum option_kind {
    KIND_FLAG,   /* bool */
    KIND_TEXT,   /* const char * */
    KIND_COUNT,  /* uint32_t */
    KIND_NUMBER, /* double */
    KIND_SEED,   /* uint64_t */
    KIND_STOP,
    KIND_BIAS,
    KIND_DUMP,
    KIND_DOT,
    KIND_SVG,
    KIND_JSON
} option_kind;

typedef struct option {
    const char *name;
    const char *value; /* how help calls it; "" for a flag */
    const char *help;
    size_t offset;
    uint32_t commands;
    option_kind kind;
} option;

static const option table[] = {
    {"-p", "TEXT", "the prompt", offsetof(options, prompt), FOR_RUN | FOR_TOKENIZE, KIND_TEXT},
    {"-p", "N", "prompt tokens (256)", offsetof(options, n_prompt), FOR_BENCH | FOR_CONFORM, KIND_COUNT},
    {"-f", "FILE", "the prompt from a file", offsetof(options, file), FOR_RUN | FOR_TOKENIZE, KIND_TEXT},
    {"--input", "FILE", "samples to answer, of a model that reads no text: IDX, .npy or CSV", offsetof(options, input), FOR_RUN | FOR_ANSWERS,
     KIND_TEXT},
    {"--targets", "FILE", "what the answers should be", offsetof(options, targets), FOR_RUN | FOR_ANSWERS, KIND_TEXT},
    {"--confusion", "FILE", "with --input: how often which class was taken for which, as CSV; rows are the targets",
     offsetof(options, confusion), FOR_RUN | FOR_ANSWERS, KIND_TEXT},
    {"-n", "N", "tokens to make", offsetof(options, n), FOR_RUN | FOR_CHAT | FOR_BENCH, KIND_COUNT},
    {"-r", "N", "repetitions (5)", offsetof(options, repeat), FOR_BENCH, KIND_COUNT},
    {"--samples", "N", "elements looked at of each parameter (20; 0: all)", offsetof(options, samples), FOR_GRADCHECK, KIND_COUNT},
    {"-t", "N", "threads (all CPUs)", offsetof(options, threads), FOR_MODEL | FOR_ANSWERS | FOR_CONFORM | FOR_GRADCHECK, KIND_COUNT},
    {"--ctx", "N", "positions of the context", offsetof(options, ctx), FOR_MODEL, KIND_COUNT},
    {"--chunk", "N", "most tokens of one step (256)", offsetof(options, chunk), FOR_MODEL | FOR_CONFORM, KIND_COUNT},
    {"--kv", "TYPE", "KV cache of f32, f16 or q8_0 (f16; with --exact f32)", offsetof(options, kv),
     FOR_MODEL | FOR_CONFORM, KIND_TEXT},
    {"--sequences", "N", "texts side by side, one token of each in a step of decode (1)", offsetof(options, sequences),
     FOR_BENCH | FOR_PLAN, KIND_COUNT},
    {"--batch", "N", "most samples of one step", offsetof(options, batch), FOR_PLAN, KIND_COUNT},
    {"--backend", "NAME", BACKEND_NAMES "; default: the best this CPU runs", offsetof(options, backend),
     FOR_MODEL | FOR_ANSWERS | FOR_CONFORM | FOR_GRADCHECK, KIND_TEXT},
    {"--adapter", "FILE", "weights of adapters (LoRA) over the model's", offsetof(options, adapter),
     FOR_MODEL | FOR_QUANTIZE, KIND_TEXT},
    {"--exact", "", "keep activations in f32", offsetof(options, exact), FOR_MODEL | FOR_ANSWERS | FOR_CONFORM, KIND_FLAG},
    {"--no-fuse", "", "one kernel per node", offsetof(options, no_fuse), FOR_MODEL | FOR_ANSWERS | FOR_CONFORM | FOR_GRADCHECK,
     KIND_FLAG},
    {"--check-finite", "", "stop at the first node that yields NaN or infinity", offsetof(options, check_finite),
     FOR_RUN | FOR_ANSWERS | FOR_CHAT | FOR_PERPLEXITY, KIND_FLAG},
    {"--pin", "", "keep KV cache, scratch and weights in physical memory", offsetof(options, pin),
     FOR_RUN | FOR_ANSWERS | FOR_CHAT | FOR_BENCH, KIND_FLAG},
    {"--no-mmap", "", "read the model into memory: what becomes of its file changes nothing",
     offsetof(options, no_mmap), FOR_RUN | FOR_ANSWERS | FOR_CHAT | FOR_BENCH | FOR_PERPLEXITY, KIND_FLAG},
    {"--profile", "", "time of every node, at the end", offsetof(options, profile), FOR_RUN | FOR_ANSWERS | FOR_BENCH, KIND_FLAG},
    {"--logits", "FILE", "write the logits of every position as f32 rows", offsetof(options, logits), FOR_RUN,
     KIND_TEXT},
    {"--dump", "NODE=FILE", "write a node's values, a row for each token or sample read, as .npy; may be repeated", 0,
     FOR_RUN | FOR_ANSWERS, KIND_DUMP},
    {"--temp", "X", "temperature; 0 is greedy (chat: 0.2)", offsetof(options, sampler.temperature), FOR_SAMPLING, KIND_NUMBER},
    {"--top-k", "N", "sample among the N likeliest", offsetof(options, sampler.top_k), FOR_SAMPLING, KIND_COUNT},
    {"--top-p", "X", "sample among the likeliest that sum to X (chat: 0.9)", offsetof(options, sampler.top_p), FOR_SAMPLING,
     KIND_NUMBER},
    {"--min-p", "X", "sample among those at least X times as likely as the first", offsetof(options, sampler.min_p),
     FOR_SAMPLING, KIND_NUMBER},
    {"--repeat-penalty", "X", "divide logits of recent tokens by X", offsetof(options, sampler.repeat_penalty),
     FOR_SAMPLING, KIND_NUMBER},
    {"--presence-penalty", "X", "subtract X from logits of recent tokens",
     offsetof(options, sampler.presence_penalty), FOR_SAMPLING, KIND_NUMBER},
    {"--frequency-penalty", "X", "subtract X per occurrence", offsetof(options, sampler.frequency_penalty),
     FOR_SAMPLING, KIND_NUMBER},
    {"--seed", "N", "seed of the sampler (0)", offsetof(options, sampler.seed), FOR_SAMPLING, KIND_SEED},
    {"--logit-bias", "ID:X", "add X to the logit of token ID; may be repeated", 0, FOR_SAMPLING, KIND_BIAS},
    {"--stop", "TEXT", "end before TEXT; may be repeated", 0, FOR_SAMPLING, KIND_STOP},
    {"--shift", "", "when the context is full, drop the older half and go on", offsetof(options, shift),
     FOR_SAMPLING, KIND_FLAG},
    {"--keep", "N", "tokens at the start that --shift never drops", offsetof(options, keep), FOR_SAMPLING,
     KIND_COUNT},
    {"--system", "TEXT", "the system message", offsetof(options, system), FOR_CHAT, KIND_TEXT},
    {"--special", "", "control tokens in the text count as such; --decode writes them", offsetof(options, special),
     FOR_RUN | FOR_TOKENIZE, KIND_FLAG},
    {"--decode", "", "ids to text", offsetof(options, decode), FOR_TOKENIZE, KIND_FLAG},
    {"--verify", "", "check every SHA-256", offsetof(options, verify), FOR_INSPECT, KIND_FLAG},
    {"--train", "OPTIMIZER", "plan for training by sgd, adam, adamw or lion: bytes with and without recompute", offsetof(options, train), FOR_PLAN, KIND_TEXT},
    {"--dot", "", "as a graph for Graphviz", 0, FOR_PLAN, KIND_DOT},
    {"--svg", "", "as a picture of scratch memory: what lies where, when", 0, FOR_PLAN, KIND_SVG},
    {"--json", "", "figures as JSON", 0, FOR_RUN | FOR_BENCH | FOR_PERPLEXITY | FOR_INSPECT | FOR_PLAN, KIND_JSON},
    {"--vectors", "FILE", "a pack of golden vectors to run", offsetof(options, vectors), FOR_CONFORM, KIND_TEXT},
    {"--help", "", "this text", offsetof(options, help), UINT32_MAX, KIND_FLAG},
};

static bool words_equal(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* ---- Numbers ---------------------------------------------------------------------------------------------- */

bool options_u64(const char *word, uint64_t *out)
{
    uint64_t v = 0;
    if (*word == '\0') {
        return false;
    }
    for (; *word != '\0'; word++) {
        if (*word < '0' || *word > '9' || v > (UINT64_MAX - (uint64_t)(*word - '0')) / 10) {
            return false;
        }
        v = v * 10 + (uint64_t)(*word - '0');
    }
    *out = v;
    return true;
}

static double power_of_ten(int e)
{
    double p = 1;
    for (int i = 0; i < (e < 0 ? -e : e); i++) {
        p *= 10;
    }
    return p;
}

/* Up to 18 digits with a point and an exponent; more digits are refused rather than rounded. */
bool options_double(const char *word, double *out)
{
    bool negative = *word == '-';
    uint64_t digits = 0;
    int n = 0;
    int scale = 0;
    bool point = false;
    word += negative ? 1 : 0;
    for (; (*word >= '0' && *word <= '9') || (*word == '.' && !point); word++) {
        if (*word == '.') {
            point = true;
            continue;
        }
        digits = digits * 10 + (uint64_t)(*word - '0');
        scale -= point ? 1 : 0;
        if (++n > 18) {
            return false;
        }
    }
    if (n != 0 && (*word == 'e' || *word == 'E')) {
        bool down = word[1] == '-';
        uint64_t e;
        if (!options_u64(word + 1 + (down || word[1] == '+' ? 1 : 0), &e) || e > 300) {
            return false;
        }
        scale += down ? -(int)e : (int)e;
        word = "";
    }
    if (n == 0 || *word != '\0') {
        return false;
    }
    *out = scale < 0 ? (double)digits / power_of_ten(scale) : (double)digits * power_of_ten(scale);
    *out = negative ? -*out : *out;
    return true;
}

/* ---- Values ----------------------------------------------------------------------------------------------- */

static bool read_count(void *at, const char *word)
{
    uint64_t v;
    uint32_t narrow;
    if (!options_u64(word, &v) || v > UINT32_MAX - 1) {
        return false;
    }
    narrow = (uint32_t)v;
    memcpy(at, &narrow, sizeof(narrow));
    return true;
}

/* "ID:X" */
static bool read_bias(options *o, const char *word)
{
    char id[16];
    uint32_t n = 0;
    uint64_t token;
    double value;
    while (word[n] != '\0' && word[n] != ':' && n + 1 < sizeof(id)) {
        id[n] = word[n];
        n++;
    }
    id[n] = '\0';
    if (word[n] != ':' || !options_u64(id, &token) || token > INT32_MAX || o->sampler.n_bias == OPTIONS_MAX_BIAS) {
        return false;
    }
    if (words_equal(word + n + 1, "-inf")) {
        value = -(double)__builtin_inff();
    } else if (!options_double(word + n + 1, &value)) {
        return false;
    }
    o->bias[o->sampler.n_bias].token = (int32_t)token;
    o->bias[o->sampler.n_bias].value = (float)value;
    o->sampler.n_bias++;
    o->sampler.bias = o->bias;
    return true;
}

/* "NODE=FILE" */
static bool read_dump(options *o, const char *word)
{
    uint32_t n = 0;
    while (word[n] != '\0' && word[n] != '=') {
        n++;
    }
    if (n == 0 || word[n] == '\0' || word[n + 1] == '\0' || o->n_dumps == OPTIONS_MAX_DUMPS) {
        return false;
    }
    o->dumps[o->n_dumps++] = word;
    return true;
}

static bool read_value(options *o, const option *op, const char *word)
{
    void *at = (char *)o + op->offset;
    uint64_t wide;
    double number;
    switch (op->kind) {
    case KIND_TEXT:
        memcpy(at, &word, sizeof(word));
        return true;
    case KIND_COUNT:
        return read_count(at, word);
    case KIND_SEED:
        if (!options_u64(word, &wide)) {
            return false;
        }
        memcpy(at, &wide, sizeof(wide));
        return true;
    case KIND_NUMBER:
        if (!options_double(word, &number)) {
            return false;
        }
        memcpy(at, &number, sizeof(number));
        return true;
    case KIND_STOP:
        if (o->n_stops == OPTIONS_MAX_STOPS || *word == '\0') {
            return false;
        }
        o->stops[o->n_stops++] = word;
        return true;
    case KIND_DUMP:
        return read_dump(o, word);
    default:
        return read_bias(o, word);
    }
}

static bool takes_value(option_kind kind)
{
    return kind != KIND_FLAG && kind != KIND_DOT && kind != KIND_SVG && kind != KIND_JSON;
}

static void set_flag(options *o, const option *op)
{
    bool yes = true;
    if (op->kind == KIND_DOT) {
        o->format = "dot";
    } else if (op->kind == KIND_SVG) {
        o->format = "svg";
    } else if (op->kind == KIND_JSON) {
        o->format = "json";
    } else {
        memcpy((char *)o + op->offset, &yes, sizeof(yes));
    }
}

/* ---- Parsing ---------------------------------------------------------------------------------------------- */

static const option *find_option(uint32_t command, const char *word)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if ((table[i].commands & command) != 0 && words_equal(table[i].name, word)) {
            return &table[i];
        }
    }
    return NULL;
}

static bool complain(char *error, size_t size, const char *a, const char *word, const char *b)
{
    q_text t;
    q_text_init(&t, error, size);
    q_text_str(&t, a);
    q_text_str(&t, word);
    q_text_str(&t, b);
    return false;
}

static bool complain_value(char *error, size_t size, const option *op, const char *word)
{
    q_text t;
    q_text_init(&t, error, size);
    q_text_str(&t, op->name);
    q_text_str(&t, " does not take '");
    q_text_str(&t, word);
    q_text_str(&t, "': it expects ");
    q_text_str(&t, op->value);
    return false;
}

/* Greedy, but for a chat: there a little chance keeps a small model from repeating itself. */
static void options_defaults(options *o, uint32_t command)
{
    memset(o, 0, sizeof(*o));
    q_sampler_defaults(&o->sampler);
    if (command == FOR_CHAT) {
        o->sampler.temperature = 0.2;
        o->sampler.top_p = 0.9;
    }
    o->n = UINT32_MAX;
    o->n_prompt = 256;
    o->repeat = 5;
    o->samples = 20;
}

bool options_parse(options *o, uint32_t command, const char *const *words, uint32_t n, char *error,
                   size_t error_size)
{
    options_defaults(o, command);
    for (uint32_t i = 0; i < n; i++) {
        const option *op = find_option(command, words[i]);
        if (op == NULL && words[i][0] == '-' && words[i][1] != '\0') {
            return command == FOR_ANSWERS ? complain(error, error_size, "--input excludes ", words[i], "")
                                          : complain(error, error_size, "unknown option ", words[i], "; --help lists them");
        }
        if (op == NULL) {
            if (o->n_args == OPTIONS_MAX_ARGS) {
                return complain(error, error_size, "unexpected word '", words[i], "'; --help shows the usage");
            }
            o->args[o->n_args++] = words[i];
        } else if (!takes_value(op->kind)) {
            set_flag(o, op);
        } else if (i + 1 == n) {
            return complain(error, error_size, "option ", words[i], " needs a value; --help lists them");
        } else if (!read_value(o, op, words[++i])) {
            return complain_value(error, error_size, op, words[i]);
        }
    }
    return true;
}

void options_help(uint32_t command, void (*emit)(void *user, const char *line), void *user)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char line[160];
        q_text t;
        if ((table[i].commands & command) == 0) {
            continue;
        }
        q_text_init(&t, line, sizeof(line));
        q_text_str(&t, "  ");
        q_text_str(&t, table[i].name);
        q_text_str(&t, " ");
        q_text_str(&t, table[i].value);
        q_text_repeat(&t, ' ', t.length < 26 ? 26 - t.length : 1);
        q_text_str(&t, table[i].help);
        emit(user, line);
    }
}
