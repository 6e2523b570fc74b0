// Would a build variant run on one of some devices, and are its files those that its metadata lists?
#ifndef CLI_JUDGE_H
#define CLI_JUDGE_H

#include <jansson.h>

#include <kernels/context.h>
#include <kernels/package.h>

enum { CLI_DEVICES_MAX = 64 };

typedef struct cli_devices {
    kn_machine *machine;
    kn_target targets[CLI_DEVICES_MAX];
    size_t count;
} cli_devices;

// The devices that were named (--device, as cli_hub_open took it), or all that the machine has.
kn_status cli_devices_find(kn_context *ctx, const char *named, cli_devices *out, kn_error *err);

typedef enum cli_digests {
    CLI_DIGESTS_NONE,
    CLI_DIGESTS_RIGHT,
    CLI_DIGESTS_WRONG,
    CLI_DIGESTS_UNKNOWN,
} cli_digests;
const char *cli_digests_text(cli_digests digests);

typedef struct cli_verdict {
    bool runs;
    cli_digests digests;
    char device[32];  // that it runs on, or was refused for
    kn_error refusal; // empty when it runs
    kn_error
        finding; // what was found wrong with its files or code, though its name may fit none of the devices
    kn_trace *trace;
} cli_verdict;

// By name, metadata, files and code, on the best of the devices. Nothing of it runs.
void cli_judge(const char *name, const char *dir, const cli_devices *devices, cli_verdict *out);
// By name and metadata alone (package NULL: by name): `runs` is true when nothing that they say is against it.
void cli_judge_metadata(const char *name, const kn_package *package, const cli_devices *devices,
                        cli_verdict *out);
void cli_verdict_dispose(cli_verdict *verdict);

void cli_print_verdict(const char *name, const cli_verdict *verdict);
json_t *cli_json_verdict(const char *name, const cli_verdict *verdict);

#endif
