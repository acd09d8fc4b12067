/* SPDX-License-Identifier: GPL-2.0-only */
/* What an open control file holds: a session with its node (node.c), or a track (track.c). */
#ifndef GC_CAPTURE_H
#define GC_CAPTURE_H

#include <linux/err.h>
#include <linux/errno.h>

#include "session.h"

struct gc_capture;

struct gc_capture_ops {
	/* The pages are there, and not none. */
	int (*rearm)(struct gc_capture *capture, u64 first, u64 count);
	/* Absent where there is nothing to scan. The pages are there, and not none. */
	int (*scan)(struct gc_capture *capture, struct gc_scan *scan);
	/* Adds what the session does not know. */
	void (*stats)(struct gc_capture *capture, struct gc_stats *stats);
	/* Ends it, and drops the creator's reference. */
	void (*remove)(struct gc_capture *capture);
};

struct gc_capture {
	const struct gc_capture_ops *ops;
	struct gc_session *session;
};

static inline int gc_capture_check(const struct gc_capture *capture, u64 first, u64 count)
{
	u64 pages = capture->session->touched.pages;

	if (!count)
		return -EINVAL;
	return first < pages && count <= pages - first ? 0 : -ERANGE;
}

#endif /* GC_CAPTURE_H */
