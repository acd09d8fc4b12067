/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM guidecopy

#if !defined(GC_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define GC_TRACE_H

#include <linux/tracepoint.h>

#include <guidecopy.h>

TRACE_EVENT(guidecopy_arm,
	TP_PROTO(u32 session, u64 first, u64 count),
	TP_ARGS(session, first, count),
	TP_STRUCT__entry(
		__field(u32, session)
		__field(u64, first)
		__field(u64, count)
	),
	TP_fast_assign(
		__entry->session = session;
		__entry->first = first;
		__entry->count = count;
	),
	TP_printk("session=%u first=%llu count=%llu",
		  __entry->session, __entry->first, __entry->count)
);

TRACE_EVENT(guidecopy_record,
	TP_PROTO(u32 session, u64 page, u32 kind),
	TP_ARGS(session, page, kind),
	TP_STRUCT__entry(
		__field(u32, session)
		__field(u64, page)
		__field(u32, kind)
	),
	TP_fast_assign(
		__entry->session = session;
		__entry->page = page;
		__entry->kind = kind;
	),
	TP_printk("session=%u page=%llu kind=%s", __entry->session, __entry->page,
		  __print_symbolic(__entry->kind,
				   { GC_KIND_READ, "read" },
				   { GC_KIND_WRITE, "write" },
				   { GC_KIND_EXEC, "exec" }))
);

/* A thread that waited for room in the ring continues. */
TRACE_EVENT(guidecopy_block,
	TP_PROTO(u32 session, u64 page, u64 slept_ns),
	TP_ARGS(session, page, slept_ns),
	TP_STRUCT__entry(
		__field(u32, session)
		__field(u64, page)
		__field(u64, slept_ns)
	),
	TP_fast_assign(
		__entry->session = session;
		__entry->page = page;
		__entry->slept_ns = slept_ns;
	),
	TP_printk("session=%u page=%llu slept_ns=%llu",
		  __entry->session, __entry->page, __entry->slept_ns)
);

#endif /* GC_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
