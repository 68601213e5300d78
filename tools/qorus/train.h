/* SPDX-License-Identifier: MIT */
/*
 * train.h: what the parts of `qorus train` share. A run goes
 *
 *   train_settings.c  the table of settings             train_config.c  a config file and the command line, read
 *   train_layers.c    the lines of a network, read
 *   train_data.c      files -> samples                  train_words.c  a text -> vocabulary and windows
 *   train_check.c     what layers want of each other
 *   train_network.c   the lines of a network -> a graph
 *   train_tune.c      a model in a file that the training begins from
 *   train.c           model, plan, session, trainer; the run
 *   train_report.c    progress, metrics, summary        train_text.c   samples of text on the way
 *   train_save.c      the model's file and the file a stopped training goes on from
 *
 * docs/TRAINING.md is the reference of the config file.
 */
#ifndef QORUS_TOOLS_TRAIN_H
#define QORUS_TOOLS_TRAIN_H

#include "../common/dataset.h"
#include "host.h"
#include "qorus/train.h"

/* ---- Settings ---------------------------------------------------------------------------------------------- */

enum { TRAIN_MAX_LAYERS = 256, TRAIN_MAX_DEPTH = 8, TRAIN_MAX_SHAPE = 3, TRAIN_MAX_SETTINGS = 80, TRAIN_IGNORED = 1 << 24 };
#define TRAIN_CLASSES UINT32_MAX

typedef enum train_loss { LOSS_CROSS_ENTROPY = 0, LOSS_MSE = 1, LOSS_HUBER = 2, LOSS_BCE = 3 } train_loss;
typedef enum train_format { FORMAT_AUTO = 0, FORMAT_IDX = 1, FORMAT_NPY = 2, FORMAT_CSV = 3, FORMAT_TEXT = 4 } train_format;

/* What a line of a network says. */
typedef enum train_op {
    OP_LINEAR,
    OP_ACTIVATION,
    OP_CONV2D,
    OP_MAX_POOL,
    OP_AVERAGE_POOL,
    OP_GLOBAL_POOL,
    OP_BATCHNORM,
    OP_LAYERNORM,
    OP_RMSNORM,
    OP_DROPOUT,
    OP_FLATTEN,
    OP_RNN,
    OP_LSTM,
    OP_GRU,
    OP_EMBEDDING,
    OP_LAST,
    OP_DECODER,
    OP_ATTENTION,
    OP_DROP_PATH,
    OP_RESIDUAL, /* opens: its layers, then the sum of what they make and what went in */
    OP_BLOCK,    /* opens: what it holds is computed again rather than kept, with recompute */
    OP_CLOSE
} train_op;

typedef struct train_layer {
    uint32_t op;   /* train_op */
    uint32_t line; /* of the config file; 0: the command line */
    uint32_t size; /* outputs, channels, units, columns; TRAIN_CLASSES: as many as there are classes */
    uint32_t kernel;
    uint32_t stride;
    uint32_t pad;
    uint32_t dilation;
    uint32_t groups;
    uint32_t activation; /* q_activation */
    bool no_bias;
    bool untied; /* decoder */
    uint32_t layers;
    uint32_t ffn;
    uint32_t heads; /* decoder, attention */
    uint32_t kv_heads;
    uint32_t window; /* attention: rows looked back on; 0: all */
    bool full;       /* attention: forward too */
    bool rope;
    double rate; /* dropout, drop_path, decoder: share that is dropped; batchnorm: momentum */
    double path_rate; /* decoder: of the last layer's parts */
} train_layer;

typedef struct train_settings {
    const char *config; /* the file's name; NULL: the command line alone */
    char *text;         /* of that file, which values and layers point into */

    const char *data;
    const char *targets;
    const char *validate_data;
    const char *validate_targets;
    uint32_t format;
    const char *label;
    const char *classes;
    uint32_t shape[TRAIN_MAX_SHAPE];
    uint32_t n_shape;
    double validate;
    uint32_t normalise;
    const char *vocab;
    uint32_t window;
    uint32_t stride;

    const char *model; /* fine-tuning: the file; instead of layers */
    uint32_t lora;     /* rank; 0: no adapters */
    double lora_alpha;
    const char *tune;

    train_layer layers[TRAIN_MAX_LAYERS];
    uint32_t n_layers;
    char *network; /* of the command line */

    uint32_t loss;
    double label_smoothing;
    const char *class_weights;
    double delta;

    uint32_t quantise; /* train_type */
    uint32_t simulate;
    uint32_t precision; /* 0: exact; 1: fast */

    uint32_t optimizer;
    double learning_rate;
    double momentum;
    bool nesterov;
    double beta1;
    double beta2;
    double eps;
    double weight_decay;
    uint32_t schedule;
    uint64_t warmup;
    uint64_t every;
    uint64_t decay;
    double factor;
    double last;
    double clip_norm;
    double clip_value;
    double weight_norm;
    double average;

    uint32_t batch;
    uint32_t micro_batch;
    uint64_t epochs;
    uint64_t steps;
    uint64_t evaluate_every;
    uint32_t patience;
    double min_delta;
    bool keep_best;
    bool in_order;
    uint64_t seed;

    uint32_t threads;
    const char *backend;
    bool pin;
    bool recompute;

    const char *out;
    uint32_t type;
    const char *metrics;
    uint64_t log_every;
    bool audit;
    uint64_t sample_every;
    const char *sample;
    uint32_t sample_tokens;
    double sample_temperature;
    uint32_t save_every;
    bool resume;
    const char *export_to;
    bool plan;

    uint32_t line[TRAIN_MAX_SETTINGS]; /* where each setting was given; see train_complain */
} train_settings;

/* The q_dtype of a choice of type, quantise and simulate. */
static inline uint32_t train_type(uint32_t choice)
{
    static const uint32_t types[] = {Q_F32, Q_F16, Q_BF16, Q_Q8_0, Q_Q4_0, Q_Q4_1};
    return types[choice];
}

/* Reads a config file, if words name one, and the options, which go first. Says what is wrong and returns false. */
bool train_read(train_settings *s, const char *const *words, uint32_t n);
/* "FILE:LINE: KEY: ..." or "--key: ..." of a setting by its name, or "FILE:LINE: ..." of a layer. Always false. */
bool train_complain(const train_settings *s, const char *key, const char *format, ...) Q_PRINTF(3, 4);
bool train_complain_layer(const train_settings *s, uint32_t layer, const char *format, ...) Q_PRINTF(3, 4);
/* Settings that decide the bits, one "key = value" a line, and the network's lines. Returns the length; cut at size. */
size_t train_describe(const train_settings *s, char *text, size_t size);
/* The lines of a network, '\n' or ';' between them: from text[0] up to the brace that closes it (a file: *line is the number
   of the line before, and counted on) or the end (the command line: NULL). Returns where it ended; NULL after saying what is wrong. */
char *train_read_network(train_settings *s, char *text, uint32_t *line);
/* Splits a word off at *text (spaces, tabs); NULL: none left. */
char *train_word(char **text);

/* ---- Data -------------------------------------------------------------------------------------------------- */

typedef enum train_form {
    FORM_SAMPLES = 0, /* x [BATCH, h, w, c] */
    FORM_ROWS = 1,    /* x [TOKENS, c]: a sample is a span of w rows */
    FORM_TEXT = 2     /* ids [TOKENS]: a sample is a window */
} train_form;

/* Samples of a table that are spans of rows. */
typedef struct train_rows {
    q_table *table;
    const q_step_span *spans;
} train_rows;

typedef struct train_data {
    uint32_t form;
    uint32_t height; /* 1 unless images */
    uint32_t rows;   /* width of an image, rows of a sequence, else 1 */
    uint32_t columns;
    uint32_t n_train;
    uint32_t n_validate;
    uint32_t classes;      /* of the labels: the largest and one; text: tokens of the vocabulary; 0: targets are reals */
    uint32_t target_width; /* labels or reals of a sample. FORM_ROWS: a label for every row, TRAIN_IGNORED but for the last */
    q_table table[2];      /* train, validate */
    train_rows span_rows[2];
    q_windows windows[2];
    q_step_span *spans;
    q_dataset set[2];
    const char *meta; /* lines for the model's META */
    const void *tokenizer;
    size_t tokenizer_size;
    uint64_t tokens; /* of the text */
    const q_file *base; /* the model that is fine-tuned, or NULL */
} train_data;

/* Reads everything. form: from the network. Says what is wrong and returns false. */
bool train_load(train_data *d, host *h, const train_settings *s, train_form form, uint32_t window);
bool train_load_text(train_data *d, host *h, const train_settings *s, uint32_t window);
/* What to read, and how. */
typedef struct train_source {
    const char *path;
    uint32_t format;     /* train_format */
    const char *label;   /* (optional) the label's column of a CSV file */
    uint32_t width;      /* 0, or: it is there only in a file of one column more */
    bool names;          /* labels may be names of classes */
    const char *classes; /* (optional) these, between blanks; else the file's own, sorted */
} train_source;

/* An array of any format as reals [samples][width], malloc'd, and its dimensions. */
typedef struct train_samples {
    float *x;
    float *y;        /* of the CSV's label column, or NULL */
    char *classes;   /* where its labels are names: those whose places y has, between blanks, malloc'd; or NULL */
    uint32_t n_classes;
    uint32_t n;
    uint32_t width;
    uint32_t dim[4]; /* of a sample, n_dims of them */
    uint32_t n_dims;
    uint32_t format; /* train_format it was read as */
} train_samples;
bool train_read_samples(train_samples *out, const train_source *from);
void train_free_samples(train_samples *s);

/* Is that the end of a file's name? */
bool train_ends_in(const char *path, const char *ending);

/* ---- Network ----------------------------------------------------------------------------------------------- */

typedef struct train_network {
    const train_settings *settings;
    const train_data *data;
    q_real *class_weights; /* [n_class_weights] */
    uint32_t n_class_weights;
    bool answers; /* as the file will have it: without the loss, and of the rows that are wanted */
    uint32_t columns; /* of the answers */
    uint32_t rows;    /* of a sample's answers */
    /* (decoder) the architecture and its layers' kinds behind it */
    struct {
        q_file_arch arch;
        uint8_t kinds[Q_CAP_LAYERS];
    } decoder;
    bool is_decoder;
} train_network;

/* Which form the network's layers want the data in, and for texts the window. Says what is wrong and returns false. */
bool train_form_of(const train_settings *s, train_form *form, uint32_t *window);
/* Checks the network against the data: shapes, layer by layer. Says what is wrong and returns false. */
bool train_network_open(train_network *n, const train_settings *s, const train_data *d);
/* q_build_fn; user: a train_network. Outputs: loss, count, answers; or answers alone. */
void train_build(q_graph *g, const void *network);
/* What a failure of the core that names a node is about: says it with the layer's line. Returns EXIT_FAILED. */
int train_say_failure(const train_settings *s, const char *what, const q_diag *diag);

/* ---- Fine-tuning ------------------------------------------------------------------------------------------- */

/* Opens s->model into h->engine, and checks what is asked of it. *window: no more than its context. Says what is wrong and
   returns false. */
bool tune_open(host *h, const train_settings *s, uint32_t *window);
/* q_decoder_build.trains and .adapts; network: a train_network. */
bool tune_trains(void *network, const char *name);
bool tune_adapts(void *network, const char *name);

/* ---- The run ----------------------------------------------------------------------------------------------- */

typedef struct train_run {
    host h; /* h.engine: model, plan and session that train */
    train_settings s;
    train_data data;
    train_network network;
    q_trainer *trainer;
    q_train_config config;
    q_fit_config fit;
    q_fit_state state;
    q_fit_result result;
    q_confusion confusion;
    uint64_t planned;     /* bytes taken for everything but the data */
    uint64_t total;       /* steps, if nothing ends it before; per_epoch of them an epoch */
    uint64_t per_epoch;
    char settings[16384]; /* as train_describe says them */
    size_t settings_bytes;

    engine writer;        /* samples of text: the network without its loss, the weights copied into it */
    train_network writer_network;
    q_generator *generator;
    engine wide;          /* the network without narrow types, for its loss at the end */

    FILE *metrics;
    bool json;
    double *audit;        /* figures of each parameter's last update; NULL: none are wanted */
    bool bar;             /* standard error is a terminal */
    double before;        /* seconds of earlier runs */
    double begin;         /* of this one */
    double shown;         /* when the progress line was drawn last */
    double saved;         /* when the state was saved last */
    double logged;        /* when metrics were written last, how many samples had been seen, and the losses since */
    uint64_t logged_samples;
    double loss_sum;
    uint64_t loss_n;
    uint64_t rescaled; /* parameters, since the last line of metrics */
    uint64_t first_step;
    bool failed;          /* a file could not be written */
} train_run;

/* Data, network, model and plan of r->s; the port runs. Says what is wrong; an exit code. */
int train_prepare(train_run *r);

/* Memory of the run, counted; NULL after saying so. */
void *train_take(train_run *r, size_t size, const char *what);

/* Model and plan of a network, e->backend being there. c: mode, flags, maxima, precision, types. Says what is wrong and returns false. */
bool train_engine(train_run *r, engine *e, train_network *n, q_plan_config *c);

/* The weights of the training session, by name, into another one. */
bool train_copy_weights(train_run *r, engine *to);

/* What trains of a model in a file becomes what it is there. Says what is wrong and returns false. */
bool tune_load(train_run *r);

/* Opens the metrics file; a resumed run keeps its first `bytes`. */
bool report_open(train_run *r, uint64_t bytes);
uint64_t report_bytes(train_run *r);
void report_start(train_run *r);
void report_step(train_run *r, const q_fit_progress *p);
/* Ends the progress line, so that something else can be printed. */
void report_pause(train_run *r);
/* loss: of the last evaluation; NULL: there was none. wide: the same without narrow types; NULL: there are none. */
bool report_summary(train_run *r, const double *loss, const double *wide);
bool report_close(train_run *r);
/* q_fit_config.seen: counts answers. user: a train_run. */
void report_seen(void *user, const q_step *step, const q_train_part *part, bool evaluated);

/* Text the model makes on the way: a session of its own that gets the weights as they are. */
bool text_open(train_run *r);
void text_show(train_run *r, uint64_t step);

/* The file that the model is written to. */
static inline const char *train_model_path(const train_run *r)
{
    return r->s.export_to != NULL ? r->s.export_to : r->s.out;
}

/* Says before a training, and not behind it, that this file cannot be written; leaves what is there. */
bool save_is_possible(train_run *r);
/* The same of matrices whose rows the type cannot hold; the session is there. */
bool save_fits_type(train_run *r);
bool save_model(train_run *r);
bool save_state(train_run *r);
/* Goes on from the state's file: parameters, moments, steps; *metrics: bytes of their file then. False after saying why not. */
bool resume_state(train_run *r, uint64_t *metrics);
void remove_state(train_run *r);

#endif /* QORUS_TOOLS_TRAIN_H */
