/* SPDX-License-Identifier: MIT */
/*
 * fetch: 200 goroutines get a page over and over, with libcurl's easy interface.
 *
 *     belay run examples/fetch.c -- URL [SECONDS]
 *
 * curl_easy_perform blocks until the transfer is over, and stops this goroutine alone: neither
 * curl's multi interface nor an event loop is needed to have many transfers under way. A handle
 * belongs to one goroutine, as it would to one thread, and keeps its connection open.
 *
 * The two ways by which a transfer is told to stop: what is left until the deadline of the
 * goroutine's context is the transfer's timeout, and progress(), which libcurl calls all the time
 * and at least once in a second, asks whether the context is cancelled. bl_ctx_err only looks, so
 * it may be called in the midst of anything; a call that waits would let the goroutine change its
 * thread there, which a library's callback may or may not allow.
 */
//belay:libs curl
#include "stall.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { CLIENTS = 200, PAGES = 20 };

typedef struct work {
    const char *url;
    atomic_int pages, errors;
    atomic_llong bytes;
} work;

static size_t body(char *data, size_t size, size_t n, void *arg)
{
    (void)data;
    work *w = arg;
    atomic_fetch_add(&w->bytes, (long long)(size * n));
    return size * n;
}

static int progress(void *arg, curl_off_t to_get, curl_off_t got, curl_off_t to_put, curl_off_t put)
{
    (void)to_get, (void)got, (void)to_put, (void)put;
    return bl_ctx_err(arg) != 0; /* anything but 0 ends the transfer */
}

static int fetch(work *w, CURL *handle)
{
    bl_ctx *ctx = bl_ctx_current();
    bl_time deadline;
    if (bl_ctx_deadline(ctx, &deadline)) {
        bl_dur left = deadline - bl_now();
        curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, left > 0 ? (long)(left / BL_MS) + 1 : 1L);
    }
    CURLcode code = curl_easy_perform(handle); /* blocks this goroutine, and no other */
    int stopped = bl_ctx_err(ctx);
    if (stopped)
        return stopped; /* it failed because we stopped it */
    if (code == CURLE_OPERATION_TIMEDOUT)
        return BL_ETIMEDOUT; /* the deadline, by libcurl's clock */
    if (code != CURLE_OK) {
        if (atomic_fetch_add(&w->errors, 1) == 0)
            fprintf(stderr, "fetch: %s: %s\n", w->url, curl_easy_strerror(code));
        return BL_EIO;
    }
    atomic_fetch_add(&w->pages, 1);
    return 0;
}

static int client(void *arg)
{
    work *w = arg;
    CURL *handle = curl_easy_init();
    if (!handle)
        return BL_ENOMEM;
    curl_easy_setopt(handle, CURLOPT_URL, w->url);
    curl_easy_setopt(handle, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L); /* signals are the process's, not a handle's */
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, w);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, progress);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, bl_ctx_current());
    int r = 0;
    for (int i = 0; i < PAGES && r == 0; i++)
        r = fetch(w, handle);
    curl_easy_cleanup(handle);
    return r;
}

static int clients_run(work *w, bl_dur timeout)
{
    BL_SCOPE(s, .name = "clients", .timeout = timeout, .grace = 5 * BL_SEC);
    for (int i = 0; i < CLIENTS; i++)
        bl_go(s, client, w);
    return bl_scope_wait(s);
}

static int main_goroutine(void *arg)
{
    char **argv = arg;
    work w = {.url = argv[1]};
    bl_dur timeout = argv[2] ? strtol(argv[2], NULL, 10) * BL_SEC : BL_MIN;
    bl_dur worst = 0;
    bl_time start = bl_now();
    BL_SCOPE(watch, .name = "watch");
    bl_go(watch, stall_watch, &worst);
    int r = clients_run(&w, timeout);
    bl_scope_cancel(watch, 0);
    bl_scope_wait(watch);
    printf("fetch: %d pages, %lld bytes, %d errors, %.2f s, worst stall %.2f ms: %s\n",
           (int)w.pages, (long long)w.bytes, (int)w.errors, (double)(bl_now() - start) / BL_SEC,
           (double)worst / BL_MS, bl_strerror(r));
    return r;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: fetch URL [SECONDS]\n");
        return 2;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) /* while there is one thread */
        return 1;
    /* More stack than belay's 64 KiB: libraries are written for the 8 MiB of a thread, and a name
     * may lead to the dynamic linker, https to OpenSSL. Pages that are never touched cost no
     * memory. */
    int r = bl_run(main_goroutine, argv, &(bl_options){.stack_size = 256 << 10});
    curl_global_cleanup();
    return r < 0;
}
