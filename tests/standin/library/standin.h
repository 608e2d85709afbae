/* State that the stand-in libraries share: the log, the chosen failures, streams and the capture in progress.
 *
 * One event a line, fields apart by tabs: event, thread, 1 in a capture or 0, key=value pairs apart by spaces.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    STANDIN_UNSUPPORTED = 900, /* cudaErrorStreamCaptureUnsupported */
    STANDIN_INVALIDATED = 901, /* cudaErrorStreamCaptureInvalidated */
    STANDIN_IMPLICIT = 906,    /* cudaErrorStreamCaptureImplicit: the legacy stream during a capture */
};

/* Whether STANDIN_FAIL, names apart by commas, has this one. */
bool standin_fails(const char *name);

/* A number from the environment. */
long standin_setting(const char *variable, long otherwise);

/* An event that a capture allows. */
void standin_log(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Name the place in the log; flushes it. Called by tests. */
void standin_mark(const char *name);

/* A call that must not be made during a capture: 0, or STANDIN_UNSUPPORTED after a line FORBIDDEN. */
int standin_unsafe(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Work for a stream, a node of the graph if the stream is being captured: 0, or STANDIN_IMPLICIT after a line
 * FORBIDDEN. A node from another thread than the one that captures is FORBIDDEN too, but made, as CUDA would. */
int standin_work(const void *stream, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));

void *standin_create_stream(unsigned flags);
bool standin_is_captured(const void *stream);

/* Begin and end a capture: 0 or an error; `nodes` receives the number of nodes. */
int standin_begin_capture(const void *stream, int mode);
int standin_end_capture(const void *stream, long *nodes);

#ifdef __cplusplus
}
#endif
