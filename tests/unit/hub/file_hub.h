// The files of one commit on a hub of a test's own, on loopback, with faults; it counts what is asked. And clients of it.
#ifndef HUB_FILE_HUB_H
#define HUB_FILE_HUB_H

#include "hub/transfer.h"
#include "support/http_server.h"

#define FILE_HUB_COMMIT "0123456789abcdef0123456789abcdef01234567"

// What happens to a GET of a file.
typedef enum file_fault {
    FILE_WELL = 0,
    FILE_SHORT, // closed in the middle
    FILE_RESET, // likewise, by RST
    FILE_STALL, // nothing more from the middle on, until the other side closes
    FILE_WRONG, // one byte is another one
    FILE_BUSY,  // 503
    FILE_GONE,  // 404 EntryNotFound
    FILE_SLOW,  // 6 KiB a millisecond
    FILE_NEVER, // no answer at all, until the other side closes
} file_fault;

typedef struct file_hub_file {
    const char *path;
    size_t size;
    bool is_large;
    bool is_masked;    // the listing hides that
    const char *etag;  // instead of the right one
    const char *named; // X-Repo-Commit instead of the right one; "": none
    file_fault fault;
    int times; // requests that meet the fault; 0: all of them
    // Filled by file_hub_start.
    kni_tree_file listed;
    char blob[KNI_SHA256_SIZE];
    unsigned char *content;
    unsigned char *wrong; // the content with one byte changed
    char *target, *head;
} file_hub_file;

// The blob of a large file has the name of a SHA-256.
#define SMALL(path_, ...)                                                                          \
    {                                                                                              \
        .path = (path_), .size = __VA_ARGS__                                                       \
    }
#define LARGE(path_, ...)                                                                          \
    {                                                                                              \
        .path = (path_), .is_large = true, .size = __VA_ARGS__                                     \
    }

typedef struct file_hub {
    file_hub_file *files;
    size_t n_files;
    char endpoint[64];
    http_server *server;
} file_hub;

void file_hub_start(file_hub *hub, file_hub_file *files, size_t n_files);
void file_hub_stop(file_hub *hub);
int file_hub_n_requests(const file_hub *hub);         // GET and HEAD
int file_hub_n_gets(const file_hub *hub, size_t i);   // of a file
int file_hub_n_ranges(const file_hub *hub, size_t i); // of them those that go on somewhere

// Who downloads all of it.
typedef struct file_client {
    kni_settings settings;
    kni_log log;
    kni_repo repo;
    kni_http *http;
    kni_cache *cache;
    const kni_tree_file **files;
    kni_transfer transfer; // to be changed before it runs
} file_client;

void file_client_open(file_client *client, const file_hub *hub, const char *cache_dir);
void file_client_close(file_client *client);

// Every blob below cache_dir hashes to its name, and every link of a snapshot leads to one. Returns the number of blobs.
size_t file_hub_check_cache(const char *cache_dir);
size_t file_hub_n_incomplete(
    const char *cache_dir); // temporaries of ours; allocates nothing of the library's
// Every file is in the snapshot with its content.
void file_hub_check_whole(const file_hub *hub, const char *cache_dir);

#endif
