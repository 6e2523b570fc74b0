// From a wish to a commit: by refs, by the cache, by locks; whom is believed; what is asked how often.
#include "hub/hub_world.h"

#define REFS "/api/kernels/o/n/refs"

static void answer_repo(hub_world *w)
{
    hub_world_answer(w, REFS, WORLD_REFS);
    hub_world_answer(w, "/api/organizations/o/overview", WORLD_TRUSTED);
}

static const struct {
    const char *name;
    kn_hub_wish wish;
    const char *commit, *ref; // NULL: refused
    kn_status status;
    const char *says; // in the error
} rows[] = {
    {"main", {.repo_id = "o/n"}, WORLD_A, "main", KN_OK, NULL},
    {"branch", {.repo_id = "o/n", .revision = "v2"}, WORLD_B, "v2", KN_OK, NULL},
    {"full branch",
     {.repo_id = "o/n", .revision = "refs/heads/v2"},
     WORLD_B,
     "refs/heads/v2",
     KN_OK,
     NULL},
    {"full tag",
     {.repo_id = "o/n", .revision = "refs/tags/v0.1.0"},
     WORLD_B,
     "refs/tags/v0.1.0",
     KN_OK,
     NULL},
    {"tag", {.repo_id = "o/n", .revision = "v0.2.0"}, WORLD_C, "v0.2.0", KN_OK, NULL},
    {"version branch", {.repo_id = "o/n", .version = "2"}, WORLD_B, "v2", KN_OK, NULL},
    {"specifier", {.repo_id = "o/n", .version = ">=0.1"}, WORLD_C, "v0.2.0", KN_OK, NULL},
    {"upper bound", {.repo_id = "o/n", .version = "<0.2,>=0.0.1"}, WORLD_B, "v0.1.0", KN_OK, NULL},
    {"pre-release", {.repo_id = "o/n", .version = ">=0.3.0rc1"}, WORLD_A, "v0.3.0rc1", KN_OK, NULL},
    {"nothing satisfies",
     {.repo_id = "o/n", .version = ">=1"},
     NULL,
     NULL,
     KN_ERR_NOT_FOUND,
     "No version of o/n satisfies requirement: >=1; its version tags: v0.1.0, v0.2.0, v0.3.0rc1"},
    {"no such branch",
     {.repo_id = "o/n", .version = "3"},
     NULL,
     NULL,
     KN_ERR_NOT_FOUND,
     "Version 3 not found, available versions: 2"},
    {"no such revision",
     {.repo_id = "o/n", .revision = "x"},
     NULL,
     NULL,
     KN_ERR_NOT_FOUND,
     "no revision 'x'; there are: v0.1.0, v0.2.0, v0.3.0rc1, v2, dev, main, nightly"},
    {"a branch that is no release",
     {.repo_id = "o/n", .revision = "dev"},
     NULL,
     NULL,
     KN_ERR_UNTRUSTED,
     "is not that of a release tag, a version branch or main"},
    {"... with consent",
     {.repo_id = "o/n", .revision = "dev", .trust_remote_code = 1},
     WORLD_D,
     "dev",
     KN_OK,
     NULL},
    {"two at once",
     {.repo_id = "o/n", .revision = "v2", .version = "2"},
     NULL,
     NULL,
     KN_ERR_INVALID,
     "at most one"},
    {"a bad id", {.repo_id = "o/../n"}, NULL, NULL, KN_ERR_INVALID, "o/../n"},
    {"a bad revision", {.repo_id = "o/n", .revision = "../x"}, NULL, NULL, KN_ERR_INVALID, "../x"},
    {"a version branch beyond all",
     {.repo_id = "o/n", .version = "9223372036854775808"},
     NULL,
     NULL,
     KN_ERR_INVALID,
     "o/n: version \"9223372036854775808\": digits alone name a version branch"},
    {"a bad specifier", {.repo_id = "o/n", .version = "=>1"}, NULL, NULL, KN_ERR_INVALID, "=>1"},
    {"a relative lock",
     {.repo_id = "o/n", .lock = "x"},
     NULL,
     NULL,
     KN_ERR_INVALID,
     "not absolute"},
};

static void test_refs(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        hub_world w;
        kn_hub_wish wish = rows[i].wish;
        kn_revision *revision = NULL;
        kn_error err = KN_ERROR_INIT;
        print_message("  %s\n", rows[i].name);
        hub_world_init(&w);
        answer_repo(&w);
        hub_world_open(&w, 0, true);
        wish.struct_size = sizeof(wish);
        const kn_status st = kn_hub_resolve(w.hub, &wish, &revision, NULL, &err);
        if (st != rows[i].status)
            fail_msg("status %d: %s", (int)st, kn_error_text(&err));
        if (rows[i].commit) {
            assert_string_equal(kn_revision_commit(revision), rows[i].commit);
            assert_string_equal(kn_revision_ref(revision), rows[i].ref);
            assert_string_equal(kn_revision_repo_type(revision), "kernel");
            assert_int_equal(kn_revision_level(revision), KN_LEVEL_TRANSPORT);
        } else {
            assert_null(revision);
            if (!strstr(kn_error_text(&err), rows[i].says))
                fail_msg("'%s' lacks '%s'", kn_error_text(&err), rows[i].says);
        }
        kn_revision_free(revision);
        kn_error_dispose(&err);
        hub_world_dispose(&w);
    }
}

static kn_status resolve(hub_world *w, kn_hub_wish wish, kn_revision **out, kn_error *err)
{
    wish.struct_size = sizeof(wish);
    return kn_hub_resolve(w->hub, &wish, out, NULL, err);
}

static void assert_refused(hub_world *w, kn_hub_wish wish, kn_status status, const char *says)
{
    kn_revision *revision = NULL;
    kn_error err = KN_ERROR_INIT;
    const kn_status st = resolve(w, wish, &revision, &err);
    if (st != status || !strstr(kn_error_text(&err), says))
        fail_msg("status %d: '%s' lacks '%s'", (int)st, kn_error_text(&err), says);
    assert_null(revision);
    kn_error_dispose(&err);
}

static void assert_found(hub_world *w, kn_hub_wish wish, const char *commit, const char *publisher)
{
    kn_revision *revision = NULL;
    kn_error err = KN_ERROR_INIT;
    if (resolve(w, wish, &revision, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    assert_string_equal(kn_revision_commit(revision), commit);
    if (!strstr(kn_revision_publisher(revision), publisher))
        fail_msg("'%s' lacks '%s'", kn_revision_publisher(revision), publisher);
    kn_revision_free(revision);
}

// Each question once, whatever the number of wishes; bad answers are remembered as well.
static void test_asked_once(void **state)
{
    (void)state;
    hub_world w;
    hub_world_init(&w);
    answer_repo(&w);
    hub_world_refuse(&w, "/api/kernels/o/gone/refs", WORLD_NO_REPO);
    hub_world_refuse(&w, "/api/models/o/gone/refs", WORLD_NO_REPO);
    hub_world_open(&w, 0, true);
    for (int i = 0; i < 3; ++i) {
        assert_found(&w, (kn_hub_wish){.repo_id = "o/n", .version = ">=0.1"}, WORLD_C, "v0.2.0");
        assert_found(&w, (kn_hub_wish){.repo_id = "o/n", .revision = "v2"}, WORLD_B, "v2");
        assert_refused(&w, (kn_hub_wish){.repo_id = "o/gone"}, KN_ERR_NOT_FOUND, "o/gone");
    }
    assert_int_equal(hub_world_count(&w, REFS), 1);
    assert_int_equal(hub_world_count(&w, "/api/organizations/o/overview"), 1);
    assert_int_equal(hub_world_count(&w, "/api/kernels/o/gone/refs"), 1);
    assert_int_equal(hub_world_count(&w, "/api/models/o/gone/refs"), 1);
    hub_world_dispose(&w);
}

// main without a version is warned of, once.
static void test_warns_of_main(void **state)
{
    (void)state;
    hub_world w;
    hub_world_init(&w);
    answer_repo(&w);
    hub_world_open(&w, 0, true);
    for (int i = 0; i < 2; ++i)
        assert_found(&w, (kn_hub_wish){.repo_id = "o/n"}, WORLD_A, "main");
    const char *first = strstr(kni_buf_text(&w.log), "neither a version nor a revision");
    assert_non_null(first);
    assert_null(strstr(first + 1, "neither a version"));
    hub_world_dispose(&w);
}

static void test_types(void **state)
{
    (void)state;
    hub_world w;
    kn_revision *revision = NULL;
    hub_world_init(&w);
    hub_world_refuse(&w, REFS, WORLD_NO_REPO);
    hub_world_answer(&w, "/api/models/o/n/refs", WORLD_REFS);
    hub_world_refuse(&w, "/api/kernels/o/hidden/refs", "HTTP/1.1 401 Unauthorized\r\n");
    hub_world_answer(&w, "/api/models/o/hidden/refs", WORLD_REFS);
    hub_world_refuse(&w, "/api/kernels/o/bare/refs", "HTTP/1.1 404 Not Found\r\n");
    hub_world_answer(&w, "/api/models/o/bare/refs", WORLD_REFS);
    hub_world_answer(&w, "/api/organizations/o/overview", WORLD_TRUSTED);
    hub_world_open(&w, 0, true);
    assert_int_equal(resolve(&w, (kn_hub_wish){.repo_id = "o/n"}, &revision, NULL), KN_OK);
    assert_string_equal(kn_revision_repo_type(revision), "model");
    kn_revision_free(revision);
    // Only the hub's own word that there is no kernel repository leads to the model.
    assert_refused(&w, (kn_hub_wish){.repo_id = "o/hidden"}, KN_ERR_DENIED, "o/hidden");
    assert_refused(&w, (kn_hub_wish){.repo_id = "o/bare"}, KN_ERR_NOT_FOUND, "o/bare");
    hub_world_dispose(&w);
}

static void test_publishers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool trusted;         // the endpoint
        const char *overview; // NULL: a 404
        kn_status status;
        const char *says;
    } cases[] = {
        {"trusted", true, WORLD_TRUSTED, KN_OK, "a trusted publisher"},
        {"an endpoint that may not say so", false, WORLD_TRUSTED, KN_ERR_UNTRUSTED,
         "the endpoint http://127.0.0.1:"},
        {"not trusted", true, "{\"trustedKernelPublisher\": false}", KN_ERR_UNTRUSTED,
         "is not from a trusted publisher"},
        {"nothing said", true, "{}", KN_ERR_UNTRUSTED, "is not from a trusted publisher"},
        {"a user", true, NULL, KN_ERR_UNTRUSTED, "is not from a trusted publisher"},
        {"nonsense", true, "[", KN_ERR_UNTRUSTED, "could not verify publisher trust status"},
        {"the wrong type", true, "{\"trustedKernelPublisher\": \"true\"}", KN_ERR_UNTRUSTED,
         "could not verify publisher trust status"},
    };
    for (size_t i = 0; i < KN_LEN(cases); ++i) {
        hub_world w;
        const kn_hub_wish wish = {.repo_id = "o/n", .version = ">=0.1"};
        print_message("  %s\n", cases[i].name);
        hub_world_init(&w);
        hub_world_answer(&w, REFS, WORLD_REFS);
        if (cases[i].overview)
            hub_world_answer(&w, "/api/organizations/o/overview", cases[i].overview);
        hub_world_open(&w, 0, cases[i].trusted);
        if (cases[i].status == KN_OK)
            assert_found(&w, wish, WORLD_C, cases[i].says);
        else
            assert_refused(&w, wish, cases[i].status, cases[i].says);
        kn_hub_wish consent = wish;
        consent.trust_remote_code = 1;
        assert_found(&w, consent, WORLD_C, "trust_remote_code");
        hub_world_dispose(&w);
    }
}

// A mirror of http on another machine is asked for nothing that a lock does not pin.
static void test_plain_http(void **state)
{
    (void)state;
    kn_hub *hub = NULL;
    char *dir = temp_dir_new();
    const char *endpoint = "http://mirror.invalid";
    kn_error err = KN_ERROR_INIT;
    kn_revision *revision = NULL;
    assert_int_not_equal(
        kn_hub_open(KN_HUB_OPTIONS(.endpoint = endpoint, .cache_dir = dir, .state_dir = dir,
                                   .trusted_endpoints = &endpoint, .n_trusted_endpoints = 1),
                    &hub, &err),
        KN_OK); // it cannot be trusted
    assert_null(hub);
    kn_error_dispose(&err);
    assert_int_equal(
        kn_hub_open(KN_HUB_OPTIONS(.endpoint = endpoint, .cache_dir = dir, .state_dir = dir,
                                   .token = "", .flags = KN_HUB_ONLINE),
                    &hub, NULL),
        KN_OK);
    temp_dir_text(dir, "kernels--o--n/snapshots/" WORLD_A "/build/" WORLD_VARIANT "/metadata.json",
                  WORLD_METADATA);
    const kn_status st = kn_hub_resolve(
        hub, KN_HUB_WISH(.repo_id = "o/n", .revision = WORLD_A, .trust_remote_code = 1), &revision,
        NULL, &err);
    assert_int_equal(st, KN_ERR_UNTRUSTED);
    assert_non_null(strstr(kn_error_text(&err), "plain http to another machine"));
    kn_error_dispose(&err);
    kn_hub_close(hub);
    temp_dir_remove(dir);
}

// What the hub said of a publisher is kept as a record: a warm commit asks nobody, and works offline.
static void test_records(void **state)
{
    (void)state;
    hub_world w;
    const kn_hub_wish version = {.repo_id = "o/n", .version = ">=0.1"};
    const kn_hub_wish commit = {.repo_id = "o/n", .revision = WORLD_C};
    hub_world_init(&w);
    answer_repo(&w);
    hub_world_open(&w, 0, true);
    assert_found(&w, version, WORLD_C, "trusted publisher");
    temp_dir_text(w.dir,
                  "cache/kernels--o--n/snapshots/" WORLD_C "/build/" WORLD_VARIANT "/metadata.json",
                  WORLD_METADATA);
    temp_dir_text(w.dir, "cache/kernels--o--n/refs/v0.2.0", WORLD_C);
    const size_t before = http_server_count(w.server);
    hub_world_open(&w, 0, true);
    assert_found(&w, commit, WORLD_C, "vouched for it as v0.2.0 on 20");
    hub_world_open(&w, KN_HUB_OFFLINE, true);
    assert_found(&w, commit, WORLD_C, "vouched");
    assert_found(&w, version, WORLD_C, "vouched");
    assert_found(&w, (kn_hub_wish){.repo_id = "o/n", .revision = "v0.2.0"}, WORLD_C, "vouched");
    assert_found(&w, (kn_hub_wish){.repo_id = "o/n", .revision = "ccccccc"}, WORLD_C, "vouched");
    assert_int_equal(http_server_count(w.server), before);
    // The record is of a trusted endpoint; no other may use it, and it is this user's alone.
    hub_world_open(&w, KN_HUB_OFFLINE, false);
    assert_refused(&w, commit, KN_ERR_UNTRUSTED, "is not trusted to do so");
    hub_world_open(&w, KN_HUB_OFFLINE, true);
    char command[4200];
    snprintf(command, sizeof(command), "chmod g+w %s/state/publishers/*", w.dir);
    assert_int_equal(system(command), 0);
    assert_refused(&w, commit, KN_ERR_UNTRUSTED, "not vouched for by any record");
    hub_world_dispose(&w);
}

// A release does not change: a tag that is another commit than it was is refused, whoever consents. A branch may move.
static void test_moved_refs(void **state)
{
    (void)state;
    static const char later[] =
        "{\"branches\": [{\"name\": \"v2\", \"targetCommit\": \"" WORLD_D "\"}], \"tags\": "
        "[{\"name\": \"v0.2.0\", \"targetCommit\": \"" WORLD_D "\"}], \"converts\": []}";
    hub_world w;
    const kn_hub_wish tag = {.repo_id = "o/n", .version = "==0.2.0", .trust_remote_code = 1};
    const kn_hub_wish branch = {.repo_id = "o/n", .version = "2", .trust_remote_code = 1};
    hub_world_init(&w);
    http_server_add(w.server, (http_reply){.path = REFS, .body = WORLD_REFS, .times = 2});
    hub_world_answer(&w, REFS, later);
    for (int i = 0; i < 2; ++i) { // seen again, as it was
        hub_world_open(&w, 0, true);
        assert_found(&w, tag, WORLD_C, "trust_remote_code");
        assert_found(&w, branch, WORLD_B, "trust_remote_code");
    }
    hub_world_open(&w, 0, true);
    w.hub->settings.endpoint_is_loopback = false; // as if it were the hub of the world
    assert_refused(&w, tag, KN_ERR_UNTRUSTED,
                   "the tag v0.2.0 is the commit " WORLD_D " now, and was " WORLD_C " on 20");
    w.hub->settings.endpoint_is_loopback = true;
    assert_found(&w, branch, WORLD_D, "trust_remote_code");
    assert_non_null(strstr(kni_buf_text(&w.log), "o/n: v2 moved from " WORLD_B " to " WORLD_D));
    kn_hub_wish commit = {.repo_id = "o/n", .revision = WORLD_D, .trust_remote_code = 1};
    temp_dir_text(w.dir, "cache/kernels--o--n/snapshots/" WORLD_D "/build/x/metadata.json", "{}");
    assert_found(&w, commit, WORLD_D, "trust_remote_code");
    hub_world_open(&w, 0, true);
    assert_found(&w, tag, WORLD_D, "trust_remote_code");
    assert_non_null(strstr(kni_buf_text(&w.log), "o/n: v0.2.0 moved from " WORLD_C));
    hub_world_dispose(&w);
}

// A name that was a tag stays one: neither a branch that is put in its place or beside it, nor a hub that no longer lists it, nor
// another spelling makes it a name that may move.
static void test_hidden_tags(void **state)
{
    (void)state;
    static const char in_place[] = "{\"branches\": [{\"name\": \"v0.2.0\", \"targetCommit\": "
                                   "\"" WORLD_D "\"}], \"tags\": [], \"converts\": []}";
    static const char beside[] =
        "{\"branches\": [{\"name\": \"v0.2.0\", \"targetCommit\": \"" WORLD_D "\"}], \"tags\": "
        "[{\"name\": \"v0.2.0\", \"targetCommit\": \"" WORLD_C "\"}], \"converts\": []}";
    static const char unlisted[] = "{\"branches\": [], \"tags\": [], \"converts\": []}";
    static const char moved[] = "{\"branches\": [], \"tags\": [{\"name\": \"v0.2.0\", "
                                "\"targetCommit\": \"" WORLD_D "\"}], \"converts\": []}";
    static const struct {
        const char *refs, *first, *then, *says;
    } hidden[] = {
        {in_place, "v0.2.0", "v0.2.0", "v0.2.0 is the commit " WORLD_D " now, and the tag"},
        {beside, "v0.2.0", "v0.2.0", "v0.2.0 is the commit " WORLD_D " now, and the tag"},
        {unlisted, "v0.2.0", "v0.2.0", "v0.2.0 is the commit " WORLD_D " now, and the tag"},
        {moved, "v0.2.0", "refs/tags/v0.2.0", "the tag refs/tags/v0.2.0 is the commit " WORLD_D},
        {moved, "refs/tags/v0.2.0", "v0.2.0", "the tag v0.2.0 is the commit " WORLD_D},
        {in_place, "v0.2.0", "refs/heads/v0.2.0", NULL}, // the branch, and no doubt about it
    };
    for (size_t i = 0; i < KN_LEN(hidden); ++i) {
        hub_world w;
        const kn_hub_wish first = {
            .repo_id = "o/n", .revision = hidden[i].first, .trust_remote_code = 1};
        const kn_hub_wish then = {
            .repo_id = "o/n", .revision = hidden[i].then, .trust_remote_code = 1};
        hub_world_init(&w);
        http_server_add(w.server, (http_reply){.path = REFS, .body = WORLD_REFS});
        hub_world_answer(&w, REFS, hidden[i].refs);
        hub_world_answer(&w, "/api/kernels/o/n/revision/v0.2.0", "{\"sha\": \"" WORLD_D "\"}");
        hub_world_open(&w, 0, true);
        assert_found(&w, first, WORLD_C, "trust_remote_code");
        for (int again = 0; again < 2; ++again) { // what was refused is not kept
            hub_world_open(&w, 0, true);
            w.hub->settings.endpoint_is_loopback = false;
            if (hidden[i].says)
                assert_refused(&w, then, KN_ERR_UNTRUSTED, hidden[i].says);
            w.hub->settings.endpoint_is_loopback = true;
            if (!hidden[i].says)
                assert_found(&w, then, WORLD_D, "trust_remote_code");
        }
        hub_world_dispose(&w);
    }
}

static void test_offline(void **state)
{
    (void)state;
    hub_world w;
    hub_world_init(&w);
    hub_world_open(&w, KN_HUB_OFFLINE, true);
    assert_refused(&w, (kn_hub_wish){.repo_id = "o/n"}, KN_ERR_NOT_FOUND,
                   "offline mode, and it is not in the cache");
    assert_refused(&w, (kn_hub_wish){.repo_id = "o/n", .revision = WORLD_A}, KN_ERR_NOT_FOUND,
                   "offline mode, and the commit " WORLD_A " is not in the cache");
    temp_dir_text(w.dir, "cache/models--o--n/snapshots/" WORLD_A "/build/x/metadata.json", "{}");
    temp_dir_text(w.dir, "cache/models--o--n/refs/v1", WORLD_A);
    assert_found(&w, (kn_hub_wish){.repo_id = "o/n", .version = "1", .trust_remote_code = 1},
                 WORLD_A, "trust_remote_code");
    // Kernel wins where both are there, and then what only the model has is not found.
    temp_dir_text(w.dir, "cache/kernels--o--n/snapshots/" WORLD_B "/build/x/metadata.json", "{}");
    temp_dir_text(w.dir, "cache/kernels--o--n/refs/v2", WORLD_B);
    temp_dir_text(w.dir, "cache/kernels--o--n/refs/v0.4.0", WORLD_B);
    assert_found(&w, (kn_hub_wish){.repo_id = "o/n", .version = "2", .trust_remote_code = 1},
                 WORLD_B, "trust_remote_code");
    assert_found(&w, (kn_hub_wish){.repo_id = "o/n", .version = "~=0.4.0", .trust_remote_code = 1},
                 WORLD_B, "trust_remote_code");
    assert_refused(&w, (kn_hub_wish){.repo_id = "o/n", .version = "1"}, KN_ERR_NOT_FOUND,
                   "Version 1 not found, available versions: 2 (offline mode");
    assert_int_equal(http_server_count(w.server), 0);
    hub_world_dispose(&w);
}

// The network fails: what is cached serves, with a warning. The hub says no: nothing serves.
static void test_network_fails(void **state)
{
    (void)state;
    hub_world w;
    const kn_hub_wish wish = {.repo_id = "o/n", .version = "2", .trust_remote_code = 1};
    hub_world_init(&w);
    hub_world_refuse(&w, REFS, "HTTP/1.1 503 Service Unavailable\r\n");
    hub_world_refuse(&w, "/api/kernels/o/private/refs", "HTTP/1.1 403 Forbidden\r\n");
    hub_world_open(&w, 0, true);
    assert_refused(&w, wish, KN_ERR_NETWORK, "503");
    temp_dir_text(w.dir, "cache/kernels--o--n/snapshots/" WORLD_B "/build/x/metadata.json", "{}");
    temp_dir_text(w.dir, "cache/kernels--o--n/refs/v2", WORLD_B);
    temp_dir_text(w.dir, "cache/kernels--o--private/snapshots/" WORLD_B "/build/x/metadata.json",
                  "{}");
    temp_dir_text(w.dir, "cache/kernels--o--private/refs/v2", WORLD_B);
    hub_world_open(&w, 0, true);
    const size_t before = hub_world_count(&w, REFS);
    assert_found(&w, wish, WORLD_B, "trust_remote_code");
    assert_int_equal(hub_world_count(&w, REFS), before + 1); // no retries when there is another way
    assert_non_null(strstr(kni_buf_text(&w.log), "the cache serves"));
    kn_hub_wish private_one = wish;
    private_one.repo_id = "o/private";
    assert_refused(&w, private_one, KN_ERR_DENIED, "o/private");
    hub_world_dispose(&w);
}

// Two tags of one version at different commits: which one is meant cannot be told.
static void test_equal_tags(void **state)
{
    (void)state;
    hub_world w;
    hub_world_init(&w);
    hub_world_answer(
        &w, REFS,
        "{\"branches\": [], \"tags\": [{\"name\": \"v1.0\", \"targetCommit\": \"" WORLD_A "\"},"
        "{\"name\": \"v1.0.0\", \"targetCommit\": \"" WORLD_B "\"}], \"converts\": []}");
    hub_world_open(&w, 0, true);
    assert_refused(&w, (kn_hub_wish){.repo_id = "o/n", .version = ">=1", .trust_remote_code = 1},
                   KN_ERR_UNTRUSTED, "are the same version of different commits");
    assert_found(&w, (kn_hub_wish){.repo_id = "o/n", .revision = "v1.0.0", .trust_remote_code = 1},
                 WORLD_B, "trust_remote_code");
    hub_world_dispose(&w);
}

// A lock may name a repository with several versions: the first counts, and the sums of its commit.
static void test_locked_versions(void **state)
{
    (void)state;
    static const char lock[] =
        "[{\"dependency\": {\"repo-id\": \"o/n\", \"version\": 1}, \"lock\": {\"commit\": "
        "\"" WORLD_A
        "\"}}, {\"dependency\": {\"repo-id\": \"o/n\", \"version\": 2}, \"lock\": {\"commit\": "
        "\"" WORLD_B "\"}}]";
    static const char sums[] =
        "{\"format\": \"kernels.lock.sums\", \"version\": 1, \"source\": \"pyproject.toml\", "
        "\"kernels\": [{\"repo_id\": \"o/n\", \"repo_type\": \"kernel\", \"version\": \"1\", "
        "\"ref\": "
        "\"v1\", \"commit\": \"" WORLD_A "\", \"variants\": {}}, {\"repo_id\": \"o/n\", "
        "\"repo_type\": \"kernel\", \"version\": \"2\", \"ref\": \"v2\", \"commit\": \"" WORLD_B
        "\", \"variants\": {}}]}";
    hub_world w;
    char path[4096];
    hub_world_init(&w);
    temp_dir_text(w.dir, "kernels.lock", lock);
    temp_dir_text(w.dir, "kernels.lock.sums", sums);
    snprintf(path, sizeof(path), "%s/kernels.lock", w.dir);
    hub_world_open(&w, KN_HUB_OFFLINE, true);
    assert_found(&w, (kn_hub_wish){.repo_id = "o/n", .lock = path}, WORLD_A, "a lock with content");
    hub_world_dispose(&w);
}

static void test_short_commits(void **state)
{
    (void)state;
    hub_world w;
    hub_world_init(&w);
    answer_repo(&w);
    hub_world_answer(&w, "/api/kernels/o/n/revision/ccccccc", "{\"sha\": \"" WORLD_C "\"}");
    hub_world_answer(&w, "/api/kernels/o/n/revision/1234567", "{\"sha\": \"" WORLD_C "\"}");
    hub_world_open(&w, 0, true);
    assert_found(&w, (kn_hub_wish){.repo_id = "o/n", .revision = "ccccccc"}, WORLD_C, "v0.2.0");
    assert_refused(&w, (kn_hub_wish){.repo_id = "o/n", .revision = "1234567"}, KN_ERR_UNTRUSTED,
                   "1234567");
    hub_world_dispose(&w);
}

static void test_moved(void **state)
{
    (void)state;
    static const char status[] = "kind = \"redirect\"\ndestination = \"p/q\"\nrevision = \"v1\"\n";
    static const char there[] = "{\"branches\": [{\"name\": \"v1\", \"targetCommit\": \"" WORLD_D
                                "\"}], \"tags\": [], \"converts\": []}";
    for (int follows = 0; follows < 2; ++follows) {
        hub_world w;
        kn_revision *revision = NULL;
        const kn_hub_wish wish = {.repo_id = "o/n", .version = "2", .trust_remote_code = 1};
        hub_world_init(&w);
        answer_repo(&w);
        hub_world_status(&w, "/kernels/o/n/resolve/v2/kernel-status.toml",
                         "HTTP/1.1 200 OK\r\nX-Repo-Commit: " WORLD_B "\r\n", status);
        hub_world_answer(&w, "/api/kernels/p/q/refs", there);
        hub_world_open(&w, follows ? KN_HUB_ONLINE | KN_HUB_FOLLOW_REDIRECTS : 0, true);
        if (follows) { // consent was for o/n: p is judged by itself
            assert_refused(&w, wish, KN_ERR_UNTRUSTED, "o/n moved to p/q@v1");
            hub_world_answer(&w, "/api/organizations/p/overview", WORLD_TRUSTED);
            hub_world_open(&w, KN_HUB_ONLINE | KN_HUB_FOLLOW_REDIRECTS, true);
        }
        assert_int_equal(resolve(&w, wish, &revision, NULL), KN_OK);
        assert_string_equal(kn_revision_commit(revision), follows ? WORLD_D : WORLD_B);
        assert_string_equal(kn_revision_repo_id(revision), follows ? "p/q" : "o/n");
        assert_string_equal(kn_revision_moved_to(revision), "p/q@v1");
        assert_int_equal(strstr(kni_buf_text(&w.log), "'o/n' redirected to 'p/q@v1'") != NULL,
                         !follows);
        kn_revision_free(revision);
        // What was followed is known without the network, where p/q is missing still; what was not is not in the cache at all.
        hub_world_open(&w, KN_HUB_OFFLINE | (follows ? KN_HUB_FOLLOW_REDIRECTS : 0), true);
        assert_refused(&w, wish, KN_ERR_NOT_FOUND,
                       follows ? "o/n moved to p/q@v1: p/q: offline mode, and it is not in the"
                               : "o/n: offline mode, and it is not in the cache");
        hub_world_dispose(&w);
    }
}

// A status that somebody else put into the cache is read as the hub's is, and its links as all links there are.
static void test_moved_cached(void **state)
{
    (void)state;
    static const struct {
        const char *text, *refusal;
    } cases[] = {
        {"kind = \"redirect\"\ndestination = \"p/q\"\n", "o/n moved to p/q@main: p/q: offline"},
        {"kind = \"gone\"\n", "o/n: kernel-status.toml: Unknown kernel status kind 'gone'"},
        {NULL, NULL}, // a link out of the cache: no status
    };
    for (size_t i = 0; i < KN_LEN(cases); ++i) {
        const kn_hub_wish wish = {.repo_id = "o/n", .revision = "v2", .trust_remote_code = 1};
        const char *folder = "cache/kernels--o--n", *file = "kernel-status.toml";
        kn_revision *revision = NULL;
        char path[200];
        hub_world w;
        hub_world_init(&w);
        snprintf(path, sizeof(path), "%s/refs/v2", folder);
        temp_dir_text(w.dir, path, WORLD_B);
        snprintf(path, sizeof(path), "%s/snapshots/" WORLD_B "/%s", folder, "README.md");
        temp_dir_text(w.dir, path, "");
        snprintf(path, sizeof(path), "%s/snapshots/" WORLD_B "/%s", folder, file);
        if (cases[i].text)
            temp_dir_text(w.dir, path, cases[i].text);
        else
            temp_dir_link(w.dir, path, "/etc/hostname");
        hub_world_open(&w, KN_HUB_OFFLINE | KN_HUB_FOLLOW_REDIRECTS, true);
        if (cases[i].refusal)
            assert_refused(&w, wish, i == 0 ? KN_ERR_NOT_FOUND : KN_ERR_FORMAT, cases[i].refusal);
        else
            assert_int_equal(resolve(&w, wish, &revision, NULL), KN_OK);
        kn_revision_free(revision);
        hub_world_dispose(&w);
    }
}

// A repository that was renamed is followed within its owner only.
static void test_renamed(void **state)
{
    (void)state;
    hub_world w;
    hub_world_init(&w);
    hub_world_refuse(&w, REFS,
                     "HTTP/1.1 307 Temporary Redirect\r\nLocation: /api/kernels/o/new/refs\r\n");
    hub_world_answer(&w, "/api/kernels/o/new/refs", WORLD_REFS);
    hub_world_refuse(&w, "/api/kernels/o/sold/refs",
                     "HTTP/1.1 307 Temporary Redirect\r\nLocation: /api/kernels/evil/n/refs\r\n");
    hub_world_answer(&w, "/api/kernels/evil/n/refs", WORLD_REFS);
    hub_world_answer(&w, "/api/organizations/o/overview", WORLD_TRUSTED);
    hub_world_open(&w, 0, true);
    assert_found(&w, (kn_hub_wish){.repo_id = "o/n", .version = "2"}, WORLD_B, "trusted");
    assert_refused(&w, (kn_hub_wish){.repo_id = "o/sold", .version = "2", .trust_remote_code = 1},
                   KN_ERR_UNTRUSTED, "another owner's repository");
    hub_world_dispose(&w);
}

// Every question about a repository may be answered by a redirect, and none of them makes another owner what was asked for.
static void test_other_owners(void **state)
{
    (void)state;
#define TREE_OF(id) "/api/kernels/" id "/tree/" WORLD_D "/build?recursive=true&expand=false"
#define TO(path) "HTTP/1.1 307 Temporary Redirect\r\nLocation: " path "\r\n"
    hub_world w;
    hub_world_init(&w);
    hub_world_answer(&w, REFS, WORLD_REFS);
    hub_world_refuse(&w, TREE_OF("o/n"), TO(TREE_OF("evil/n")));
    hub_world_refuse(&w, TREE_OF("o/mixed"), TO(TREE_OF("O/Mixed")));
    hub_world_refuse(&w, TREE_OF("o/query"), TO("/api/kernels/evil/n/tree/x?/api/kernels/o/n"));
    hub_world_answer(&w, TREE_OF("evil/n"), "[]");
    hub_world_answer(&w, TREE_OF("O/Mixed"), "[]");
    hub_world_answer(&w, "/api/kernels/evil/n/tree/x?/api/kernels/o/n", "[]");
    hub_world_refuse(&w, "/api/kernels/o/n/revision/refs%2Fpr%2F1",
                     TO("/api/kernels/evil/n/revision/refs%2Fpr%2F1"));
    hub_world_answer(&w, "/api/kernels/evil/n/revision/refs%2Fpr%2F1",
                     "{\"sha\": \"" WORLD_D "\"}");
    hub_world_refuse(&w, "/api/organizations/o/overview", TO("/api/organizations/evil/overview"));
    hub_world_answer(&w, "/api/organizations/evil/overview", WORLD_TRUSTED);
    hub_world_open(&w, 0, true);
    const kn_hub_wish commit = {.repo_id = "o/n", .revision = WORLD_D, .trust_remote_code = 1};
    assert_refused(&w, commit, KN_ERR_UNTRUSTED, "another owner's repository");
    assert_found(&w,
                 (kn_hub_wish){.repo_id = "o/mixed", .revision = WORLD_D, .trust_remote_code = 1},
                 WORLD_D, "trust_remote_code");
    assert_refused(&w,
                   (kn_hub_wish){.repo_id = "o/query", .revision = WORLD_D, .trust_remote_code = 1},
                   KN_ERR_UNTRUSTED, "another owner's repository");
    assert_refused(&w,
                   (kn_hub_wish){.repo_id = "o/n", .revision = "refs/pr/1", .trust_remote_code = 1},
                   KN_ERR_UNTRUSTED, "another owner's repository");
    assert_refused(&w, (kn_hub_wish){.repo_id = "o/n", .version = "2"}, KN_ERR_UNTRUSTED,
                   "answers for another owner");
    hub_world_dispose(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refs),          cmocka_unit_test(test_asked_once),
        cmocka_unit_test(test_warns_of_main), cmocka_unit_test(test_types),
        cmocka_unit_test(test_publishers),    cmocka_unit_test(test_plain_http),
        cmocka_unit_test(test_records),       cmocka_unit_test(test_offline),
        cmocka_unit_test(test_network_fails), cmocka_unit_test(test_equal_tags),
        cmocka_unit_test(test_short_commits), cmocka_unit_test(test_locked_versions),
        cmocka_unit_test(test_moved),         cmocka_unit_test(test_moved_cached),
        cmocka_unit_test(test_renamed),       cmocka_unit_test(test_moved_refs),
        cmocka_unit_test(test_hidden_tags),   cmocka_unit_test(test_other_owners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
