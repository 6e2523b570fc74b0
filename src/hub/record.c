#include "hub/record.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"

enum { RECORD_MAX = 4096 };

static const char *const folders[] = {"publishers", "refs"};

static const char *key_of(const kni_record *record)
{
    return record->kind == KNI_RECORD_REF ? record->ref : record->commit;
}

// <state>/<folder>/<SHA-256 of what it is about>.json: no name from outside becomes part of a path.
char *kni_record_path(const char *state_dir, const kni_record *record)
{
    kni_buf about = KNI_BUF_ANY, path = KNI_BUF_ANY;
    kni_digest digest;
    char hex[129];
    kni_buf_printf(&about, "%s\n%s\n%s\n%s", record->endpoint,
                   kni_repo_type_text(record->repo->type), record->repo->id, key_of(record));
    if (!about.failed &&
        kni_digest_bytes(KNI_SHA256, about.data, about.size, &digest, NULL) == KN_OK) {
        kni_digest_hex(&digest, hex);
        kni_buf_printf(&path, "%s/%s/%s.json", state_dir, folders[record->kind], hex);
    }
    kni_buf_dispose(&about);
    return kni_buf_take(&path);
}

// A regular file of this user, which nobody else may write.
static bool read_own(const char *path, char *text, size_t *size)
{
    struct stat info;
    bool is_own = false;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return false;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
        (info.st_mode & 022) == 0) {
        const ssize_t n = read(fd, text, RECORD_MAX);
        is_own = n > 0 && n < RECORD_MAX;
        *size = is_own ? (size_t)n : 0;
    }
    close(fd);
    return is_own;
}

static bool says(kni_json_at at, const char *key, const char *expected)
{
    const char *text = "";
    return kni_json_string(at, key, true, &text, NULL) == KN_OK && strcmp(text, expected) == 0;
}

static bool take(kni_json_at at, const char *key, char *out, size_t size)
{
    const char *text = "";
    if (kni_json_string(at, key, true, &text, NULL) != KN_OK || strlen(text) >= size)
        return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

bool kni_record_read(const char *state_dir, kni_record *record)
{
    char text[RECORD_MAX];
    size_t size = 0;
    json_t *json = NULL;
    kni_record found = *record;
    bool is_there = false;
    char *path = state_dir ? kni_record_path(state_dir, record) : NULL;
    if (path && read_own(path, text, &size) &&
        kni_json_parse(text, size, "record", &json, NULL) == KN_OK) {
        const kni_json_at at = {"record", "", json};
        is_there = says(at, "endpoint", record->endpoint) &&
                   says(at, "repo_type", kni_repo_type_text(record->repo->type)) &&
                   says(at, "repo_id", record->repo->id) &&
                   take(at, "commit", found.commit, sizeof(found.commit)) &&
                   take(at, "ref", found.ref, sizeof(found.ref)) &&
                   take(at, "day", found.day, sizeof(found.day)) && kni_is_commit(found.commit) &&
                   strcmp(key_of(&found), key_of(record)) == 0;
    }
    if (is_there)
        *record = found;
    json_decref(json);
    kni_free(path);
    return is_there;
}

static void set_today(kni_record *record)
{
    const time_t now = time(NULL);
    struct tm day;
    if (!gmtime_r(&now, &day) || strftime(record->day, sizeof(record->day), "%Y-%m-%d", &day) == 0)
        record->day[0] = '\0';
}

static kn_status make_dirs(const char *path, kn_error *err)
{
    char *dir = kni_path_dirname(path);
    char *state = dir ? kni_path_dirname(dir) : NULL;
    kn_status st = state ? kni_dir_make(dir, err) : kni_no_memory(err);
    if (st == KN_OK && (chmod(state, 0700) != 0 || chmod(dir, 0700) != 0))
        st = kn_error_set(err, KN_ERR_IO, "%s: cannot be made private to this user", state);
    kni_free(state);
    kni_free(dir);
    return st;
}

kn_status kni_record_write(const char *state_dir, const kni_record *record, kn_error *err)
{
    kni_record now = *record;
    set_today(&now);
    char *path = state_dir ? kni_record_path(state_dir, record) : NULL;
    if (!path)
        return kn_error_set(err, KN_ERR_NOT_FOUND, "there is no directory for records");
    json_t *json = json_pack("{ss ss ss ss ss ss}", "endpoint", record->endpoint, "repo_type",
                             kni_repo_type_text(record->repo->type), "repo_id", record->repo->id,
                             "commit", record->commit, "ref", record->ref, "day", now.day);
    char *text = json ? kni_json_text(json) : NULL;
    kn_status st = text ? make_dirs(path, err) : kni_no_memory(err);
    if (st == KN_OK)
        st = kni_file_write(path, text, strlen(text), err);
    if (st == KN_OK && chmod(path, 0600) != 0) // whatever the umask
        st = kn_error_set(err, KN_ERR_IO, "%s: cannot be made private to this user", path);
    kni_free(text);
    json_decref(json);
    kni_free(path);
    return st;
}
