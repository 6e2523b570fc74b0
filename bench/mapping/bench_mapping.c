// Mappings: what a scope of one entry costs over a large mapping (made and freed), and what a look-up costs. The rival of the scope
// is what a program without shared values does: copy the whole mapping and free the copy afterwards; a table of the same entries
// with their strings shared, so less work than a true deep copy. Best of several rounds.
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/mapping.h"

#define ROUNDS 7
#define NAME_SIZE 40

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void check(kn_status st, kn_error *err)
{
    if (st == KN_OK)
        return;
    fprintf(stderr, "bench_mapping: %s\n", kn_error_text(err));
    exit(1);
}

// A full copy of a table of entries: one allocation for each layer, as a table of tables has, and the index over them.
typedef struct copied {
    struct copied_layer {
        const kn_entry *entries;
        size_t n_entries;
        kn_entry first;
    } * *layers;
    size_t n;
} copied;

static copied copy_all(const copied *from)
{
    copied to = {malloc((from->n + 1) * sizeof(*to.layers)), from->n};
    for (size_t i = 0; i < from->n; ++i) {
        to.layers[i] = malloc(sizeof(**to.layers));
        *to.layers[i] = *from->layers[i];
    }
    return to;
}

static void free_all(copied *table)
{
    for (size_t i = 0; i < table->n; ++i)
        free(table->layers[i]);
    free(table->layers);
}

static double time_copy(const copied *base, size_t repeats)
{
    double best = 1e18;
    for (int round = 0; round < ROUNDS; ++round) {
        const double start = now_ns();
        for (size_t i = 0; i < repeats; ++i) {
            copied scope = copy_all(base);
            free_all(&scope);
        }
        const double each = (now_ns() - start) / (double)repeats;
        best = each < best ? each : best;
    }
    return best;
}

// Makes and frees a value of one entry; `is_new`: a layer that the base does not have.
static double time_with(const kn_mapping *base, char (*names)[NAME_SIZE], size_t n, bool is_new,
                        size_t repeats)
{
    double best = 1e18;
    kn_error err = KN_ERROR_INIT;
    for (int round = 0; round < ROUNDS; ++round) {
        double total = 0;
        for (size_t i = 0; i < repeats; ++i) {
            char name[NAME_SIZE];
            kn_mapping *scope = NULL;
            if (is_new)
                snprintf(name, sizeof(name), "New%zu", i);
            else
                memcpy(name, names[i * 7919 % n], NAME_SIZE);
            const double start = now_ns();
            check(kn_mapping_with(base,
                                  KN_ENTRY(.layer = name, .device = "cuda",
                                           .repo_id = "kernels-community/activation",
                                           .version = ">=0.0.4,<0.1.0"),
                                  1, &scope, &err),
                  &err);
            kn_mapping_unref(scope);
            total += now_ns() - start;
        }
        best = total / (double)repeats < best ? total / (double)repeats : best;
    }
    return best;
}

static double time_find(const kn_mapping *mapping, char (*names)[NAME_SIZE], size_t n,
                        const char *suffix, size_t repeats)
{
    double best = 1e18;
    kn_error err = KN_ERROR_INIT;
    char(*asked)[NAME_SIZE] = malloc(n * NAME_SIZE);
    for (size_t i = 0; i < n; ++i)
        snprintf(asked[i], NAME_SIZE, "%.30s%s", names[i * 7919 % n], suffix);
    for (int round = 0; round < ROUNDS; ++round) {
        size_t found = 0;
        const double start = now_ns();
        for (size_t i = 0; i < repeats; ++i) {
            kn_mapping_answer answer = KN_MAPPING_ANSWER_INIT;
            check(kn_mapping_find(mapping, asked[i % n], KN_DEVICE_CUDA, 86, KN_MODE_INFERENCE,
                                  &answer, NULL, &err),
                  &err);
            found += answer.found == KN_FOUND;
        }
        const double each = (now_ns() - start) / (double)repeats;
        best = each < best ? each : best;
        if (found != (*suffix ? 0 : repeats))
            exit(1);
    }
    free(asked);
    return best;
}

static void run(size_t n)
{
    kn_error err = KN_ERROR_INIT;
    kn_mapping *mapping = NULL;
    char(*names)[NAME_SIZE] = malloc(n * NAME_SIZE);
    kn_entry *entries = calloc(n, sizeof(*entries));
    copied rival = {malloc(n * sizeof(*rival.layers)), n};
    if (!names || !entries || !rival.layers)
        exit(1);
    for (size_t i = 0; i < n; ++i) {
        snprintf(names[i], NAME_SIZE, "Layer%zuForModel%zu", i, i % 97);
        entries[i] = (kn_entry){.struct_size = sizeof(kn_entry),
                                .layer = names[i],
                                .device = "cuda",
                                .repo_id = "kernels-community/activation",
                                .version = ">=0.0.4,<0.1.0"};
        rival.layers[i] = malloc(sizeof(**rival.layers));
        *rival.layers[i] = (struct copied_layer){&entries[i], 1, entries[i]};
    }
    double start = now_ns();
    check(kn_mapping_with(NULL, entries, n, &mapping, &err), &err);
    const double all = now_ns() - start;
    const size_t repeats = 20000;
    const double copy = time_copy(&rival, 200000 / n + 3);
    const double replaced = time_with(mapping, names, n, false, repeats);
    const double added = time_with(mapping, names, n, true, repeats);
    const double find = time_find(mapping, names, n, "", 200000);
    const double miss = time_find(mapping, names, n, "?", 200000);
    printf("{\"bench\": \"mapping\", \"entries\": %zu, \"all_at_once_ns_per_entry\": %.0f, "
           "\"scope_replace_ns\": %.0f, \"scope_add_ns\": %.0f, \"full_copy_ns\": %.0f, "
           "\"copy_over_scope\": %.1f, \"find_ns\": %.1f, \"find_absent_ns\": %.1f}\n",
           n, all / (double)n, replaced, added, copy, copy / added, find, miss);
    kn_mapping_unref(mapping);
    free_all(&rival);
    free(entries);
    free(names);
}

int main(void)
{
    static const size_t sizes[] = {100, 1000, 10000, 100000};
    for (size_t i = 0; i < KN_LEN(sizes); ++i)
        run(sizes[i]);
    return 0;
}
