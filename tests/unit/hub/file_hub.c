#include "hub/file_hub.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hub/blob_hash.h"
#include "support/cmocka.h"
#include "support/temp_dir.h"

enum {
    STACK = 256 * 1024,
    SLOW_PIECE = 64 * 1024,
    SLOW_US = 10000,
};

typedef struct connection {
    file_hub *hub;
    int fd;
    size_t have;
    char text[8192];
} connection;

static bool send_all(int fd, const void *data, size_t size)
{
    for (const char *at = data; size > 0;) {
        const ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static bool send_slowly(int fd, const unsigned char *data, size_t size)
{
    for (size_t at = 0; at < size; at += SLOW_PIECE) {
        usleep(SLOW_US);
        if (!send_all(fd, data + at, size - at < SLOW_PIECE ? size - at : SLOW_PIECE))
            return false;
    }
    return true;
}

// Until the other side closes.
static void wait_for_end(int fd)
{
    char byte;
    while (recv(fd, &byte, 1, 0) > 0)
        ;
}

static bool refuse(int fd, const char *status, const char *code)
{
    char head[256];
    const int n =
        snprintf(head, sizeof(head), "HTTP/1.1 %s\r\n%sContent-Length: 0\r\n\r\n", status, code);
    return send_all(fd, head, (size_t)n);
}

// False: the connection is at its end.
static bool send_file(connection *c, file_hub_file *file, bool is_head, size_t from)
{
    char head[1024], etag[128];
    snprintf(etag, sizeof(etag), "%s", file->etag ? file->etag : file->blob);
    const char *commit = file->named ? file->named : FILE_HUB_COMMIT;
    const int n = atomic_fetch_add(is_head ? &file->n_heads : &file->n_gets, 1);
    const bool fails = !is_head && (file->times == 0 || n < file->times);
    const file_fault fault = fails ? file->fault : FILE_WELL;
    if (fault == FILE_BUSY)
        return refuse(c->fd, "503 Service Unavailable", "");
    if (fault == FILE_GONE)
        return refuse(c->fd, "404 Not Found", "X-Error-Code: EntryNotFound\r\n");
    if (fault == FILE_NEVER) {
        wait_for_end(c->fd);
        return false;
    }
    if (from > 0)
        atomic_fetch_add(&file->n_ranges, 1);
    size_t length = (size_t)snprintf(
        head, sizeof(head),
        "HTTP/1.1 %s\r\nContent-Length: %zu\r\nETag: \"%s\"\r\nAccept-Ranges: bytes\r\n",
        from ? "206 Partial Content" : "200 OK", file->size - from, etag);
    if (commit[0])
        length +=
            (size_t)snprintf(head + length, sizeof(head) - length, "X-Repo-Commit: %s\r\n", commit);
    if (from)
        length += (size_t)snprintf(head + length, sizeof(head) - length,
                                   "Content-Range: bytes %zu-%zu/%zu\r\n", from, file->size - 1,
                                   file->size);
    length += (size_t)snprintf(head + length, sizeof(head) - length, "\r\n");
    if (!send_all(c->fd, head, length) || is_head)
        return is_head;
    const unsigned char *body = file->content + from;
    const size_t size = file->size - from, half = size / 2;
    switch (fault) {
    case FILE_SHORT:
        send_all(c->fd, body, half);
        return false;
    case FILE_RESET:
        send_all(c->fd, body, half);
        usleep(20000); // a reset throws away what was not read yet
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        return false;
    case FILE_STALL:
        send_all(c->fd, body, half);
        wait_for_end(c->fd);
        return false;
    case FILE_WRONG: {
        const unsigned char other = (unsigned char)(body[half] ^ 1);
        return send_all(c->fd, body, half) && send_all(c->fd, &other, 1) &&
               send_all(c->fd, body + half + 1, size - half - 1);
    }
    case FILE_SLOW:
        return send_slowly(c->fd, body, size);
    default:
        return send_all(c->fd, body, size);
    }
}

static bool answer(connection *c)
{
    char method[8], path[2048], *blank;
    if (sscanf(c->text, "%7s %2047s", method, path) != 2)
        return false;
    while ((blank = strstr(path, "%20"))) {
        *blank = ' ';
        memmove(blank + 1, blank + 3, strlen(blank + 3) + 1);
    }
    const char *range = strcasestr(c->text, "\r\nrange: bytes=");
    const char *prefix = "/kernels/o/n/resolve/" FILE_HUB_COMMIT "/";
    const size_t start = strlen(prefix);
    for (size_t i = 0; i < c->hub->n_files && strncmp(path, prefix, start) == 0; ++i) {
        file_hub_file *file = &c->hub->files[i];
        if (strcmp(path + start, file->path) == 0)
            return send_file(c, file, strcmp(method, "HEAD") == 0,
                             range ? (size_t)strtoull(range + 15, NULL, 10) : 0);
    }
    return refuse(c->fd, "404 Not Found", "X-Error-Code: EntryNotFound\r\n");
}

static void *serve(void *user)
{
    connection *c = user;
    for (;;) {
        c->text[c->have] = '\0';
        char *end = strstr(c->text, "\r\n\r\n");
        if (!end) {
            const ssize_t n = recv(c->fd, c->text + c->have, sizeof(c->text) - 1 - c->have, 0);
            if (n <= 0)
                break;
            c->have += (size_t)n;
            continue;
        }
        *end = '\0';
        if (!answer(c))
            break;
        const size_t used = (size_t)(end + 4 - c->text);
        memmove(c->text, c->text + used, c->have - used);
        c->have -= used;
    }
    shutdown(c->fd, SHUT_RDWR); // a forked client may hold a copy of the descriptor
    close(c->fd);
    atomic_fetch_sub(&c->hub->n_connections, 1);
    free(c);
    return NULL;
}

static void *accept_all(void *user)
{
    file_hub *hub = user;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (;;) {
        pthread_t thread;
        const int fd = accept4(hub->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 && errno == EINTR)
            continue;
        if (fd < 0)
            break; // it was shut down
        connection *c = calloc(1, sizeof(*c));
        c->hub = hub;
        c->fd = fd;
        atomic_fetch_add(&hub->n_connections, 1);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        if (pthread_create(&thread, &attributes, serve, c) != 0) {
            atomic_fetch_sub(&hub->n_connections, 1);
            close(fd);
            free(c);
        }
    }
    pthread_attr_destroy(&attributes);
    return NULL;
}

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
    file->listed =
        (kni_tree_file){.path = (char *)file->path, .size = file->size, .is_large = file->is_large};
    if (!file->is_masked)
        strcpy(file->is_large ? file->listed.sha256 : file->listed.oid, file->blob);
    else if (file->is_large) // the pointer's id is not hidden
        strcpy(file->listed.oid, "00000000000000000000000000000000000000aa");
}

void file_hub_start(file_hub *hub, file_hub_file *files, size_t n_files)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    *hub = (file_hub){.files = files, .n_files = n_files};
    for (size_t i = 0; i < n_files; ++i)
        fill(&files[i], i + 1);
    hub->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(hub->fd >= 0);
    assert_int_equal(bind(hub->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(hub->fd, 1024), 0);
    assert_int_equal(getsockname(hub->fd, (struct sockaddr *)&address, &size), 0);
    snprintf(hub->endpoint, sizeof(hub->endpoint), "http://127.0.0.1:%u",
             (unsigned)ntohs(address.sin_port));
    assert_int_equal(pthread_create(&hub->thread, NULL, accept_all, hub), 0);
}

void file_hub_stop(file_hub *hub)
{
    shutdown(hub->fd, SHUT_RDWR);
    pthread_join(hub->thread, NULL);
    close(hub->fd);
    while (atomic_load(&hub->n_connections)) // they end with their clients, which are gone
        usleep(1000);
    for (size_t i = 0; i < hub->n_files; ++i)
        free(hub->files[i].content);
}

int file_hub_n_requests(const file_hub *hub)
{
    int n = 0;
    for (size_t i = 0; i < hub->n_files; ++i)
        n += atomic_load(&hub->files[i].n_gets) + atomic_load(&hub->files[i].n_heads);
    return n;
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
