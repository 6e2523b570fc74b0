// kernels cache: what the cache holds, how much room it takes, and how to get it back.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kernels/hub.h>

#include "files.h"
#include "options.h"
#include "output.h"
#include "verbs.h"

typedef struct cache {
    cli_texts words; // ls, du or rm, and repositories
    const char *cache_dir;
    bool yes, json;
    kn_hub *hub;
    kn_cache_list *list;
    bool *is_named; // of the items
    size_t count;
} cache;

static kn_cache_item item_at(const cache *c, size_t index)
{
    kn_cache_item item = KN_CACHE_ITEM_INIT;
    kn_cache_list_get(c->list, index, &item, NULL);
    return item;
}

// --- names ---

static bool has(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; ++i)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

// REPO, REPO@ref, or REPO@ and the beginning of a commit, 7 digits at least.
static bool is_meant(const char *word, const kn_cache_item *item)
{
    const size_t size = strlen(item->repo_id);
    if (strncmp(word, item->repo_id, size) != 0)
        return false;
    if (word[size] == '\0')
        return true;
    const char *revision = word + size + 1;
    const size_t digits = strlen(revision);
    return word[size] == '@' && (has(item->refs, item->n_refs, revision) ||
                                 (digits >= 7 && strncmp(item->commit, revision, digits) == 0));
}

// Every word means something. Without any, all items are meant.
static bool find_named(cache *c)
{
    bool is_whole = true;
    c->count = kn_cache_list_count(c->list);
    c->is_named = cli_alloc(c->count * sizeof(*c->is_named));
    for (size_t i = 0; c->words.count == 1 && i < c->count; ++i)
        c->is_named[i] = true;
    for (size_t w = 1; w < c->words.count; ++w) {
        bool is_found = false;
        for (size_t i = 0; i < c->count; ++i) {
            const kn_cache_item item = item_at(c, i);
            if (is_meant(c->words.items[w], &item))
                c->is_named[i] = is_found = true;
        }
        if (!is_found)
            cli_fail("cache: there is no %s in the cache %s", c->words.items[w],
                     kn_hub_cache_dir(c->hub));
        is_whole &= is_found;
    }
    return is_whole;
}

// --- what is said ---

static json_t *texts_json(const char *const *texts, size_t count)
{
    json_t *array = cli_json_array();
    for (size_t i = 0; i < count; ++i)
        cli_json_add(array, cli_json_text(texts[i]));
    return array;
}

static json_t *item_json(const kn_cache_item *item)
{
    json_t *o = cli_json_object();
    cli_json_set(o, "repository", cli_json_text(item->repo_id));
    cli_json_set(o, "type", cli_json_text(item->repo_type));
    cli_json_set(o, "commit", cli_json_text(item->commit));
    cli_json_set(o, "refs", texts_json(item->refs, item->n_refs));
    cli_json_set(o, "variants", texts_json(item->variants, item->n_variants));
    cli_json_set(o, "size_bytes", json_integer((json_int_t)item->size_bytes));
    cli_json_set(o, "unique_bytes", json_integer((json_int_t)item->unique_bytes));
    cli_json_set(o, "modified", json_integer((json_int_t)item->modified));
    return o;
}

static void print_names(const char *what, const char *const *names, size_t count)
{
    if (!count)
        return;
    cli_text("  %-9s", what);
    for (size_t i = 0; i < count; ++i)
        cli_text("%s%s", i ? ", " : "", names[i]);
    puts("");
}

static void print_name(const kn_cache_item *item)
{
    if (item->commit[0])
        cli_text("%s@%.12s", item->repo_id, item->commit);
    else
        cli_text("%s, what no snapshot has", item->repo_id);
}

static void list_items(cache *c, json_t *root)
{
    json_t *items = cli_json_array();
    for (size_t i = 0; i < c->count; ++i) {
        const kn_cache_item item = item_at(c, i);
        char size[CLI_SIZE_TEXT];
        if (!c->is_named[i])
            continue;
        cli_json_add(items, item_json(&item));
        if (c->json)
            continue;
        print_name(&item);
        cli_line(", %s", cli_size(item.size_bytes, size));
        print_names("refs", item.refs, item.n_refs);
        print_names("variants", item.variants, item.n_variants);
    }
    cli_json_set(root, "snapshots", items);
}

// The whole list is summed up, so that what two snapshots share counts once.
static void sum_up(cache *c, json_t *root)
{
    json_t *repositories = cli_json_array();
    uint64_t total = 0;
    char text[CLI_SIZE_TEXT];
    for (size_t i = 0; i < c->count;) {
        const kn_cache_item first = item_at(c, i);
        uint64_t size = 0;
        size_t n = 0;
        bool is_named = false;
        for (; i < c->count; ++i) {
            const kn_cache_item item = item_at(c, i);
            if (strcmp(item.repo_id, first.repo_id) != 0 ||
                strcmp(item.repo_type, first.repo_type) != 0)
                break;
            n += item.commit[0] != '\0';
            size += item.new_bytes;
            is_named |= c->is_named[i];
        }
        if (!is_named)
            continue;
        total += size;
        json_t *o = cli_json_object();
        cli_json_set(o, "repository", cli_json_text(first.repo_id));
        cli_json_set(o, "type", cli_json_text(first.repo_type));
        cli_json_set(o, "snapshots", json_integer((json_int_t)n));
        cli_json_set(o, "size_bytes", json_integer((json_int_t)size));
        cli_json_add(repositories, o);
        if (!c->json)
            cli_line("%10s  %s, %zu snapshot%s", cli_size(size, text), first.repo_id, n,
                     n == 1 ? "" : "s");
    }
    if (!c->json)
        cli_line("%10s  in %s", cli_size(total, text), kn_hub_cache_dir(c->hub));
    cli_json_set(root, "repositories", repositories);
    cli_json_set(root, "size_bytes", json_integer((json_int_t)total));
}

// --- removing ---

static bool ask(void)
{
    char line[16];
    fputs("remove them? [y/N] ", stdout);
    fflush(stdout);
    return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static int remove_items(cache *c, json_t *root)
{
    json_t *removed = cli_json_array();
    uint64_t total = 0;
    char size[CLI_SIZE_TEXT];
    int status = CLI_YES;
    for (size_t i = 0; i < c->count; ++i) {
        const kn_cache_item item = item_at(c, i);
        kn_error err = KN_ERROR_INIT;
        uint64_t freed = 0;
        if (!c->is_named[i])
            continue;
        if (kn_hub_cache_remove(c->hub, &item, &freed, &err) != KN_OK) {
            cli_fail_error("cache", &err);
            status = CLI_TROUBLE;
            continue;
        }
        total += freed;
        cli_json_add(removed, item_json(&item));
        if (!c->json) {
            fputs("removed ", stdout);
            print_name(&item);
            cli_line(", %s free", cli_size(freed, size));
        }
    }
    if (!c->json)
        cli_line("%s free in all", cli_size(total, size));
    cli_json_set(root, "removed", removed);
    cli_json_set(root, "freed_bytes", json_integer((json_int_t)total));
    return status;
}

// Nothing is removed that was not named, and shown or consented to.
static int confirm_and_remove(cache *c, json_t *root, bool is_whole)
{
    if (!is_whole)
        return CLI_NO;
    if (!c->yes && (c->json || !isatty(STDIN_FILENO))) {
        cli_fail("cache: rm asks before it removes anything, and there is no terminal to ask: "
                 "accepted is --yes");
        return CLI_TROUBLE;
    }
    if (!c->yes) {
        json_t *unused = cli_json_object();
        list_items(c, unused);
        json_decref(unused);
        if (!ask())
            return CLI_NO;
    }
    return remove_items(c, root);
}

// --- all together ---

static kn_status check_words(const cache *c, kn_error *err)
{
    static const char *const verbs[] = {"ls", "du", "rm"};
    const char *verb = c->words.items[0];
    if (!has(verbs, KN_LEN(verbs), verb))
        return kn_error_set(err, KN_ERR_INVALID, "'%s': accepted are ls, du and rm", verb);
    if (strcmp(verb, "rm") == 0 && c->words.count == 1)
        return kn_error_set(err, KN_ERR_INVALID,
                            "rm: what is to be removed? accepted are names of repositories, with "
                            "@ and a ref or commit for one snapshot ('kernels cache ls' has them)");
    if (strcmp(verb, "rm") != 0 && c->yes)
        return kn_error_set(err, KN_ERR_INVALID, "--yes is for rm");
    return KN_OK;
}

// Nothing is fetched, and a question to the user is one that Ctrl-C answers: no progress, no cancelling.
static kn_status open_hub(cache *c, kn_error *err)
{
    char *dir = c->cache_dir ? cli_absolute(c->cache_dir) : NULL;
    const kn_status st =
        kn_hub_open(KN_HUB_OPTIONS(.cache_dir = dir, .flags = KN_HUB_OFFLINE), &c->hub, err);
    free(dir);
    return st;
}

static int run(cache *c)
{
    const char *verb = c->words.items[0];
    json_t *root = cli_json_object();
    const bool is_whole = find_named(c);
    int status = is_whole ? CLI_YES : CLI_NO;
    cli_json_set(root, "cache", cli_json_text(kn_hub_cache_dir(c->hub)));
    if (strcmp(verb, "ls") == 0)
        list_items(c, root);
    else if (strcmp(verb, "du") == 0)
        sum_up(c, root);
    else
        status = confirm_and_remove(c, root, is_whole);
    if (c->json && json_object_size(root) > 1)
        cli_json(json_incref(root));
    json_decref(root);
    return status;
}

int cli_cmd_cache(int argc, char **argv)
{
    cache c = {.yes = false};
    int status = CLI_YES;
    kn_error err = KN_ERROR_INIT;
    const cli_option options[] = {
        {"yes", NULL, "rm: do not ask", &c.yes, NULL, NULL},
        {"cache-dir", "DIR", "the cache, instead of HF_HUB_CACHE", NULL, &c.cache_dir, NULL},
        {"json", NULL, "as JSON", &c.json, NULL, NULL}};
    const cli_usage usage = {
        "cache", "ls|du|rm [REPO[@REV]…]",
        "ls: what the cache holds, snapshot by snapshot. du: how much room each repository takes. "
        "rm: removes the\nsnapshots that are named: all of a repository, or that of a ref or "
        "commit. Caches of a site are not\nlooked at, nor is what is not a kernel.\n\n"
        "Exit status: 0 done, 1 something that was named is not there, or the answer was no, 2 "
        "wrong use, or a\ncache that cannot be read or changed.",
        options, KN_LEN(options)};
    if (cli_parse_many(&usage, argc, argv, &c.words, &status)) {
        kn_status st = check_words(&c, &err);
        if (st == KN_OK)
            st = open_hub(&c, &err);
        if (st == KN_OK)
            st = kn_hub_cache_list(c.hub, &c.list, &err);
        if (st == KN_OK) {
            status = run(&c);
        } else {
            cli_fail_error("cache", &err);
            status = CLI_TROUBLE;
        }
        kn_cache_list_free(c.list);
        free(c.is_named);
        kn_hub_close(c.hub);
    }
    cli_texts_free(&c.words);
    return status;
}
