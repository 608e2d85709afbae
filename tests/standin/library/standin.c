#include "standin.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { GLOBAL = 0, THREAD_LOCAL = 1, RELAXED = 2 }; /* cudaStreamCaptureMode */

struct stream {
    unsigned flags;
};

/* What is captured, if anything: ONNX Runtime captures one stream at a time. */
static struct {
    const void *stream;
    long thread;
    int mode;
    long nodes;
    bool invalid;
} capture;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *file;

__attribute__((constructor)) static void open_log(void)
{
    const char *path = getenv("STANDIN_LOG");
    if (path != NULL && (file = fopen(path, "a")) != NULL)
        setvbuf(file, NULL, _IOFBF, 1 << 20);
}

static long thread_id(void)
{
    return (long)syscall(SYS_gettid);
}

static void write_line(const char *event, bool captured, const char *format, va_list values)
{
    if (file == NULL)
        return;
    fprintf(file, "%s\t%ld\t%d\t", event, thread_id(), captured);
    vfprintf(file, format, values);
    fputc('\n', file);
}

static void write_forbidden(const char *reason, const char *event, const char *format, va_list values)
{
    if (file == NULL)
        return;
    fprintf(file, "FORBIDDEN\t%ld\t1\treason=%s call=%s ", thread_id(), reason, event);
    vfprintf(file, format, values);
    fputc('\n', file);
}

bool standin_fails(const char *name)
{
    const char *chosen = getenv("STANDIN_FAIL");
    size_t length = strlen(name);
    while (chosen != NULL) {
        if (strncmp(chosen, name, length) == 0 && (chosen[length] == ',' || chosen[length] == '\0'))
            return true;
        chosen = strchr(chosen, ',');
        chosen = chosen == NULL ? NULL : chosen + 1;
    }
    return false;
}

long standin_setting(const char *variable, long otherwise)
{
    const char *value = getenv(variable);
    return value == NULL ? otherwise : atol(value);
}

void standin_log(const char *event, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    pthread_mutex_lock(&lock);
    write_line(event, false, format, values);
    pthread_mutex_unlock(&lock);
    va_end(values);
}

void standin_mark(const char *name)
{
    standin_log("mark", "name=%s", name);
    pthread_mutex_lock(&lock);
    if (file != NULL)
        fflush(file);
    pthread_mutex_unlock(&lock);
}

int standin_unsafe(const char *event, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    pthread_mutex_lock(&lock);
    bool own = capture.thread == thread_id();
    bool forbidden = capture.stream != NULL && (capture.mode == GLOBAL || (capture.mode == THREAD_LOCAL && own));
    if (forbidden) {
        capture.invalid = true;
        write_forbidden(own ? "unsafe" : "unsafe-in-another-thread", event, format, values);
    } else {
        write_line(event, false, format, values);
    }
    pthread_mutex_unlock(&lock);
    va_end(values);
    return forbidden ? STANDIN_UNSUPPORTED : 0;
}

int standin_work(const void *stream, const char *event, const char *format, ...)
{
    int error = 0;
    va_list values;
    va_start(values, format);
    pthread_mutex_lock(&lock);
    bool captured = capture.stream != NULL && stream == capture.stream;
    /* A stream made without CU_STREAM_NON_BLOCKING is in order with the legacy stream, which no capture can record */
    bool in_order = capture.stream != NULL && stream == NULL && ((struct stream *)capture.stream)->flags == 0;
    if (in_order) {
        capture.invalid = true;
        error = STANDIN_IMPLICIT;
        write_forbidden("legacy-stream", event, format, values);
    } else {
        if (captured && capture.thread != thread_id()) {
            va_list again;
            va_copy(again, values);
            write_forbidden("node-of-another-thread", event, format, again);
            va_end(again);
        }
        capture.nodes += captured;
        write_line(event, captured, format, values);
    }
    pthread_mutex_unlock(&lock);
    va_end(values);
    /* Widens the window in which another thread can come in between */
    long pause = captured ? standin_setting("STANDIN_NODE_MICROSECONDS", 0) : 0;
    if (pause > 0)
        usleep((useconds_t)pause);
    return error;
}

void *standin_create_stream(unsigned flags)
{
    struct stream *stream = malloc(sizeof *stream);
    stream->flags = flags;
    return stream;
}

bool standin_is_captured(const void *stream)
{
    pthread_mutex_lock(&lock);
    bool captured = capture.stream != NULL && stream == capture.stream;
    pthread_mutex_unlock(&lock);
    return captured;
}

int standin_begin_capture(const void *stream, int mode)
{
    if (standin_unsafe("begin-capture", "stream=%p mode=%d", stream, mode))
        return STANDIN_UNSUPPORTED;
    pthread_mutex_lock(&lock);
    capture.stream = stream;
    capture.thread = thread_id();
    capture.mode = mode;
    capture.nodes = 0;
    capture.invalid = false;
    pthread_mutex_unlock(&lock);
    return 0;
}

int standin_end_capture(const void *stream, long *nodes)
{
    pthread_mutex_lock(&lock);
    bool valid = capture.stream == stream && !capture.invalid && !standin_fails("capture");
    *nodes = capture.nodes;
    capture.stream = NULL;
    pthread_mutex_unlock(&lock);
    standin_log("end-capture", "stream=%p nodes=%ld valid=%d", stream, *nodes, valid);
    return valid ? 0 : STANDIN_INVALIDATED;
}
