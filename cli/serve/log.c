#include "log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../output.h"

struct serve_log {
    int fd;
};

kn_status serve_log_open(const char *path, serve_log **out, kn_error *err)
{
    const bool is_stdout = strcmp(path, "-") == 0;
    *out = NULL;
    const int fd = is_stdout ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                             : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return kn_error_set(err, KN_ERR_IO, "%s: cannot be written: %s",
                            is_stdout ? "standard output" : path, strerror(errno));
    *out = cli_alloc(sizeof(**out));
    (*out)->fd = fd;
    return KN_OK;
}

void serve_log_close(serve_log *log)
{
    if (!log)
        return;
    close(log->fd);
    free(log);
}

static void put_clean(FILE *out, const char *text)
{
    for (; *text; ++text) {
        const unsigned char c = (unsigned char)*text;
        if (c < ' ' || c >= 127 || c == '"' || c == '\\')
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
}

static void put_client(FILE *out, const serve_request *request)
{
    char text[INET6_ADDRSTRLEN] = "-";
    unsigned int port = 0;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    if (address && address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        port = ntohs(in->sin_port);
    } else if (address && address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)address;
        inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof(text));
        port = ntohs(in->sin6_port);
    }
    fprintf(out, strchr(text, ':') ? " [%s]:%u" : " %s:%u", text, port);
}

void serve_log_request(serve_log *log, const serve_request *request, bool is_cut)
{
    char *line = NULL;
    size_t size = 0;
    struct timespec now, wall;
    FILE *out = open_memstream(&line, &size);
    if (!out)
        cli_no_memory();
    clock_gettime(CLOCK_MONOTONIC, &now);
    clock_gettime(CLOCK_REALTIME, &wall);
    char *time = serve_time_text((int64_t)wall.tv_sec * 1000000000ll + wall.tv_nsec);
    const double ms = 1e3 * (double)(now.tv_sec - request->began.tv_sec) +
                      1e-6 * (double)(now.tv_nsec - request->began.tv_nsec);
    const char *agent = serve_request_header(request, "User-Agent");
    fputs(time, out);
    put_client(out, request);
    fprintf(out, " \"%s ", request->method ? request->method : "-");
    put_clean(out, request->text);
    fprintf(out, "\" %u %llu%s %.1f \"", request->status, (unsigned long long)request->answer_size,
            is_cut ? " cut" : "", ms);
    put_clean(out, agent ? agent : "-");
    fputs("\"\n", out);
    free(time);
    if (fclose(out) != 0)
        cli_no_memory();
    // One call, so that lines of several threads do not mix. A full disk does not stop the server.
    for (size_t at = 0; at < size;) {
        const ssize_t n = write(log->fd, line + at, size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    free(line);
}
