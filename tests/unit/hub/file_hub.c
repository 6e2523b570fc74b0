#include "hub/file_hub.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "hub/blob_hash.h"
#include "hub/http_test.h"
#include "support/cmocka.h"
#include "support/temp_dir.h"

enum {
    SLOW_PIECE = 6 * 1024,
};

static void fill(file_hub_file *file, uint64_t seed)
{
    kni_blob_hash hash = {NULL};
    file->content = malloc(file->size + 1);
    assert_non_null(file->content);
    for (size_t i = 0; i < file->size; ++i) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        file->content[i] = (unsigned char)(seed >> 56);
    }
    assert_int_equal(kni_blob_hash_begin(&hash, file->is_large ? 64 : 40, file->size, NULL), KN_OK);
    assert_int_equal(kni_blob_hash_add(&hash, file->content, file->size, NULL), KN_OK);
    assert_int_equal(kni_blob_hash_end(&hash, file->blob, NULL), KN_OK);
    kni_blob_hash_dispose(&hash);
    file->wrong = malloc(file->size + 1);
    assert_non_null(file->wrong);
    memcpy(file->wrong, file->content, file->size);
    file->wrong[file->size / 2] ^= 1;
    file->listed =
        (kni_tree_file){.path = (char *)file->path, .size = file->size, .is_large = file->is_large};
    if (!file->is_masked)
        strcpy(file->is_large ? file->listed.sha256 : file->listed.oid, file->blob);
    else if (file->is_large) // the pointer's id is not hidden
        strcpy(file->listed.oid, "00000000000000000000000000000000000000aa");
}

// What is answered: the fault as often as it is wanted, then the file.
static void script(const file_hub *hub, file_hub_file *file)
{
    const char *commit = file->named ? file->named : FILE_HUB_COMMIT;
    kni_repo repo;
    kni_buf target = KNI_BUF_ANY, head = KNI_BUF_ANY;
    assert_int_equal(kni_repo_init(&repo, KNI_REPO_KERNEL, "o/n", NULL), KN_OK);
    kni_repo_append_resolve(&target, &repo, FILE_HUB_COMMIT, file->path);
    kni_buf_printf(&head, "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nETag: \"%s\"\r\n",
                   file->etag ? file->etag : file->blob);
    if (commit[0])
        kni_buf_printf(&head, "X-Repo-Commit: %s\r\n", commit);
    file->target = kni_buf_take(&target);
    file->head = kni_buf_take(&head);
    http_reply reply = {.path = file->target,
                        .head = file->head,
                        .body = (const char *)file->content,
                        .size = file->size,
                        .times = file->times ? file->times : -1,
                        .at = file->size / 2,
                        .ranges = true};
    http_reply well = reply;
    well.times = -1;
    switch (file->fault) {
    case FILE_WELL:
        break;
    case FILE_SHORT:
        reply.then = HTTP_CUT;
        break;
    case FILE_RESET:
        reply.then = HTTP_RESET;
        break;
    case FILE_STALL:
        reply.then = HTTP_STALL;
        break;
    case FILE_WRONG:
        reply.body = (const char *)file->wrong;
        break;
    case FILE_BUSY:
        reply.head = "HTTP/1.1 503 Service Unavailable\r\n";
        reply.size = 0;
        reply.body = "";
        break;
    case FILE_GONE:
        reply.head = "HTTP/1.1 404 Not Found\r\nX-Error-Code: EntryNotFound\r\n";
        reply.size = 0;
        reply.body = "";
        break;
    case FILE_SLOW:
        reply.then = HTTP_SLOW;
        reply.at = 0;
        reply.piece = SLOW_PIECE;
        break;
    case FILE_NEVER:
        reply.head = "";
        reply.then = HTTP_STALL;
        reply.at = 0;
        break;
    }
    http_server_add(hub->server, reply);
    http_server_add(hub->server, well);
}

void file_hub_start(file_hub *hub, file_hub_file *files, size_t n_files)
{
    *hub = (file_hub){.files = files, .n_files = n_files, .server = http_server_new()};
    snprintf(hub->endpoint, sizeof(hub->endpoint), "http://127.0.0.1:%d",
             http_server_port(hub->server));
    for (size_t i = 0; i < n_files; ++i) {
        fill(&files[i], i + 1);
        script(hub, &files[i]);
    }
}

void file_hub_stop(file_hub *hub)
{
    http_server_free(hub->server);
    for (size_t i = 0; i < hub->n_files; ++i) {
        free(hub->files[i].content);
        free(hub->files[i].wrong);
        kni_free(hub->files[i].target);
        kni_free(hub->files[i].head);
    }
}

// Requests that begin with a method and a target ("": any) and hold a piece of text.
static int n_requests(const file_hub *hub, const char *method, const char *target, const char *text)
{
    char start[2048];
    int n = 0;
    snprintf(start, sizeof(start), "%s%s%s", method, target, target[0] ? " " : "");
    for (size_t i = http_server_count(hub->server); i-- > 0;) {
        const char *request = http_server_request(hub->server, i);
        n += strncmp(request, start, strlen(start)) == 0 && strstr(request, text);
    }
    return n;
}

int file_hub_n_requests(const file_hub *hub)
{
    return n_requests(hub, "", "", "");
}

int file_hub_n_gets(const file_hub *hub, size_t i)
{
    return n_requests(hub, "GET ", hub->files[i].target, "");
}

int file_hub_n_ranges(const file_hub *hub, size_t i)
{
    return n_requests(hub, "GET ", hub->files[i].target, "\r\nRange: bytes=");
}

void file_client_open(file_client *client, const file_hub *hub, const char *cache_dir)
{
    *client = (file_client){0};
    assert_int_equal(
        kni_settings_init(&client->settings,
                          KN_HUB_OPTIONS(.endpoint = hub->endpoint, .token = "",
                                         .cache_dir = cache_dir, .state_dir = cache_dir,
                                         .flags = KN_HUB_ONLINE),
                          NULL),
        KN_OK);
    assert_int_equal(kni_repo_init(&client->repo, KNI_REPO_KERNEL, "o/n", NULL), KN_OK);
    assert_int_equal(kni_http_new(&client->settings, &client->log, &client->http, NULL), KN_OK);
    kni_http_set_second(client->http, 50); // tries follow one another sooner
    assert_int_equal(kni_cache_new(cache_dir, false, false, &client->cache, NULL), KN_OK);
    client->files = calloc(hub->n_files + 1, sizeof(*client->files));
    assert_non_null(client->files);
    for (size_t i = 0; i < hub->n_files; ++i)
        client->files[i] = &hub->files[i].listed;
    client->transfer = (kni_transfer){.cache = client->cache,
                                      .http = client->http,
                                      .log = &client->log,
                                      .endpoint = hub->endpoint,
                                      .repo = &client->repo,
                                      .commit = FILE_HUB_COMMIT,
                                      .variant = "v",
                                      .files = client->files,
                                      .n_files = hub->n_files,
                                      .links = true};
}

void file_client_close(file_client *client)
{
    kni_http_free(client->http);
    kni_cache_free(client->cache);
    kni_settings_dispose(&client->settings);
    free(client->files);
}

static void check_blob(const char *dir, const char *name)
{
    kn_error err = KN_ERROR_INIT;
    const int fd = open(temp_dir_path(dir, name), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    if (kni_blob_check(fd, name, name, &err) != KN_OK)
        fail_msg("%s", kn_error_text(&err));
    close(fd);
}

size_t file_hub_n_incomplete(const char *cache_dir)
{
    size_t n = 0;
    char path[512];
    snprintf(path, sizeof(path), "%s/kernels--o--n/blobs", cache_dir);
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        n += strstr(entry->d_name, ".kn-") != NULL;
    if (dir)
        closedir(dir);
    return n;
}

static int check_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    struct stat target;
    (void)walk;
    if (!S_ISDIR(info->st_mode) && (stat(path, &target) != 0 || !S_ISREG(target.st_mode)))
        fail_msg("%s leads to no file", path);
    return kind == FTW_DNR || kind == FTW_NS;
}

size_t file_hub_check_cache(const char *cache_dir)
{
    kni_names names = {0};
    char dir[512];
    size_t n_blobs = 0;
    snprintf(dir, sizeof(dir), "%s/kernels--o--n/blobs", cache_dir);
    if (!kni_dir_exists(dir))
        return 0;
    assert_int_equal(kni_dir_list(dir, &names, NULL), KN_OK);
    for (size_t i = 0; i < names.count; ++i) {
        if (strstr(names.names[i], ".incomplete"))
            continue;
        assert_true(kni_is_object_id(names.names[i]));
        check_blob(dir, names.names[i]);
        ++n_blobs;
    }
    kni_names_free(&names);
    snprintf(dir, sizeof(dir), "%s/kernels--o--n/snapshots", cache_dir);
    assert_int_equal(nftw(dir, check_entry, 16, FTW_PHYS), 0);
    return n_blobs;
}

void file_hub_check_whole(const file_hub *hub, const char *cache_dir)
{
    for (size_t i = 0; i < hub->n_files; ++i) {
        char path[1024];
        kni_buf found = KNI_BUF_ANY;
        snprintf(path, sizeof(path), "%s/kernels--o--n/snapshots/" FILE_HUB_COMMIT "/%s", cache_dir,
                 hub->files[i].path);
        if (kni_file_read(&found, path, NULL) != KN_OK)
            fail_msg("%s is not there", path);
        assert_int_equal(found.size, hub->files[i].size);
        if (found.size)
            assert_memory_equal(found.data, hub->files[i].content, found.size);
        kni_buf_dispose(&found);
    }
}
