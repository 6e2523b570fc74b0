#include "beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAME_SIZE_MAX 255

int serve_open_beneath(int root, const char *path, int flags)
{
    const struct open_how how = {
        .flags = (unsigned long long)(flags | O_CLOEXEC | ((flags & O_PATH) ? 0 : O_NONBLOCK)),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd;
    do // EAGAIN: something was renamed while a ".." of a link was resolved
        fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
    while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    return (int)fd;
}

bool serve_is_name(const char *name)
{
    const size_t size = strlen(name);
    if (size == 0 || size > NAME_SIZE_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < size; ++i)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f || name[i] == '\\')
            return false;
    json_t *text = json_string(name); // NULL: not UTF-8
    json_decref(text);
    return text != NULL;
}
