#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdlib.h>

enum { TOKENS_MAX = 1 << 20, THREADS_MAX = 1024 };

const char llama_usage[] =
    "usage: llama MODEL.gguf [options]\n"
    "\n"
    "Generates text with a Llama model (GGUF 2 or 3; F32, F16, Q8_0, Q4_1). With a mapping, its "
    "layers\n"
    "RMSNorm, SiluAndMul and rotary_pos_emb get kernels: the plan is shown, then text is generated "
    "with\n"
    "kernels, then without, and both are compared.\n"
    "\n"
    "  --mapping FILE   which kernels serve the layers (TOML); without it: no kernels\n"
    "  --no-kernels     only run without kernels\n"
    "  --brief          the plan and the text alone: no second run, no figures\n"
    "  --prompt TEXT    what to ask the model (default: a short question)\n"
    "  --raw            give the prompt to the model as it is, without its chat template\n"
    "  --tokens N       tokens to generate at most (default: 64)\n"
    "  --threads N      threads for matrix products and kernels (default: the processors there "
    "are)\n"
    "  --json           print one JSON document instead of text\n"
    "  --help           print this\n";

static int n_processors(void)
{
    cpu_set_t set;
    const int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < THREADS_MAX ? n : THREADS_MAX;
}

static kn_status parse_int(const char *option, const char *text, int high, int *out, kn_error *err)
{
    char *end;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (end == text || *end || errno != 0 || value < 1 || value > high)
        return kn_error_set(err, KN_ERR_INVALID, "--%s: '%s', accepted are 1 to %d", option, text,
                            high);
    *out = (int)value;
    return KN_OK;
}

kn_status llama_options_parse(int argc, char **argv, llama_options *out, kn_error *err)
{
    enum { MAPPING = 256, NO_KERNELS, BRIEF, PROMPT, RAW, TOKENS, THREADS, JSON, HELP };
    static const struct option table[] = {
        {"mapping", required_argument, NULL, MAPPING},
        {"no-kernels", no_argument, NULL, NO_KERNELS},
        {"brief", no_argument, NULL, BRIEF},
        {"prompt", required_argument, NULL, PROMPT},
        {"raw", no_argument, NULL, RAW},
        {"tokens", required_argument, NULL, TOKENS},
        {"threads", required_argument, NULL, THREADS},
        {"json", no_argument, NULL, JSON},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0},
    };
    kn_status st = KN_OK;
    *out = (llama_options){.prompt = "Why is the sky blue? Answer in two sentences.",
                           .n_tokens = 64,
                           .n_threads = n_processors()};
    opterr = 0;
    while (st == KN_OK) {
        const int option = getopt_long(argc, argv, ":", table, NULL);
        if (option == -1)
            break;
        switch (option) {
        case MAPPING:
            out->mapping = optarg;
            break;
        case NO_KERNELS:
            out->no_kernels = true;
            break;
        case BRIEF:
            out->brief = true;
            break;
        case PROMPT:
            out->prompt = optarg;
            break;
        case RAW:
            out->raw = true;
            break;
        case TOKENS:
            st = parse_int("tokens", optarg, TOKENS_MAX, &out->n_tokens, err);
            break;
        case THREADS:
            st = parse_int("threads", optarg, THREADS_MAX, &out->n_threads, err);
            break;
        case JSON:
            out->json = true;
            break;
        case HELP:
            out->help = true;
            return KN_OK;
        case ':':
            return kn_error_set(err, KN_ERR_INVALID, "%s needs a value", argv[optind - 1]);
        default:
            if (optopt > 0 && optopt < 256)
                return kn_error_set(err, KN_ERR_INVALID, "unknown option -%c, see --help", optopt);
            return kn_error_set(err, KN_ERR_INVALID, "%s %s, see --help",
                                optopt ? "no value is accepted in" : "unknown option",
                                argv[optind - 1]);
        }
    }
    if (st != KN_OK)
        return st;
    if (optind != argc - 1)
        return kn_error_set(err, KN_ERR_INVALID,
                            "%d model files were named, accepted is one, see --help",
                            argc - optind);
    if (!*out->prompt)
        return kn_error_set(err, KN_ERR_INVALID, "--prompt: an empty text, accepted is any other");
    out->model = argv[optind];
    return KN_OK;
}
