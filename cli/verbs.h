// The verbs: each takes the words that follow it and returns the exit status.
#ifndef CLI_VERBS_H
#define CLI_VERBS_H

// X(name, what it does)
#define CLI_VERB_LIST(X)                                                                           \
    X(explain, "which kernel would serve each layer of a mapping, and why")                        \
    X(versions, "what a repository has to choose from, and what is taken of it")                   \
    X(info, "what a package or a repository holds")                                                \
    X(check, "would a package's variants run here, and are its files unchanged?")                  \
    X(download, "kernels into the cache")                                                          \
    X(lock, "pin the kernels of a project or a mapping file to the byte")                          \
    X(verify, "how far a kernel is to be believed, and why")                                       \
    X(cache, "what the cache holds, how much room it takes, and how to get it back")               \
    X(doctor, "what this machine is and can run")                                                  \
    X(pack, "make a build variant from a shared object and layers.json, and run its layers")       \
    X(serve, "directories as a hub, for tests and sites")

#define CLI_VERB_DECLARE(name, about) int cli_cmd_##name(int argc, char **argv);
CLI_VERB_LIST(CLI_VERB_DECLARE)
#undef CLI_VERB_DECLARE

#endif
