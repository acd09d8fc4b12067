/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * guidecopy: capture of first touches of a guide VM's memory.
 *
 * The whole contract between guidecopy.ko and user space.
 *
 * Overview
 * --------
 * A session watches one range of one shmem file (a memfd, a file on tmpfs): the pristine image of a
 * VM's RAM block. It has two faces:
 *
 *   control   an open file of /dev/guidecopy: ioctl(2), poll(2), and an mmap(2)'d ring of records.
 *             One open file description holds at most one session.
 *   node      a character device of its own, /dev/guidecopy-memN, that another process (the guide)
 *             maps privately in place of the file. Page 0 of the node is page 0 of the session. Its
 *             size is what lseek(fd, 0, SEEK_END) says.
 *
 * The first access to each page through any mapping of the node makes exactly one record, which is
 * in the ring before the access goes on. The node's content is that of the file; what is written
 * through it is private to the writer (copy on write) and never reaches the file.
 *
 *      no session --SESSION_CREATE--> live --last reference to the control file gone--> dead
 *
 * A dead session records nothing and blocks nobody; its node is removed from /dev; mappings of the
 * node that still exist stay valid, with the same content, until they are unmapped. A reference to
 * the control file is an open descriptor or a mapping of the ring: both go when a process dies.
 * The ring's mappings are not inherited by fork(2).
 *
 * A page of a live session is, in the order of its life:
 *
 *      armed --first access: one record--> touched --REARM--> armed
 *
 * All pages are armed by SESSION_CREATE. REARM unmaps the range from every process that maps the
 * file, the owner of the file included (they fault it in again, which costs time, nothing else),
 * and from KVM guests through their MMU notifiers. A page that somebody has written through the
 * node is that writer's private copy; it stays mapped, so that this writer's accesses are not
 * recorded again. An access at the same time as a REARM counts as before or as after it.
 *
 * The ring
 * --------
 * mmap(2) of the control file, at offsets in pages of 4 KiB:
 *
 *   GC_RING_CONSUMER_OFFSET  1 page   struct gc_ring_consumer   user space writes, kernel reads
 *   GC_RING_PRODUCER_OFFSET  1 page   struct gc_ring_producer   kernel writes, user space reads
 *   GC_RING_RECORDS_OFFSET   entries * sizeof(struct gc_record), rounded up to pages;
 *                                     kernel writes, user space reads
 *
 * Each part can be mapped alone. The mapping must be shared; a writable mapping may cover nothing
 * but the consumer page. head and tail count records since creation and never wrap in practice;
 * record number i is in slot i & (entries - 1).
 *
 *   reading:  load head (acquire); read the records tail .. head - 1; store tail (release);
 *             full barrier; load kick_wanted; if it is not 0, GC_IOC_KICK.
 *
 * When head - tail == entries the ring is full, and the thread whose access needs a record sleeps
 * (killable; not holding the mmap lock) until KICK finds room: nothing is ever dropped, and entries
 * is the limit on how far the guide can run ahead of the consumer. Where the kernel itself touches
 * the page in a context that cannot sleep on a fault retry (ptrace, /proc/PID/mem), the record is
 * kept aside by the kernel, counted in gc_stats.spilled, and moved into the ring, in order, by the
 * next KICK, poll or access.
 *
 * The consumer page is not trusted: a tail that is less than the last good one or greater than head
 * is counted in gc_stats.garbage and otherwise ignored.
 *
 * poll(2) on the control file: EPOLLIN when there are unread records, said of many together: the
 * module parameter notify_delay_us after the first that is new since the consumer last read, or at
 * once when the ring is full; EPOLLHUP when the node had been mapped and is no longer mapped by
 * anybody; EPOLLERR when there is no session.
 *
 * ioctls
 * ------
 * Every argument begins with __u32 size, the caller's sizeof its struct, and __u32 flags. A smaller
 * struct than the kernel's is taken as if followed by zeros, a bigger one is taken if what the
 * kernel does not know is zero. On success the kernel writes back at most size bytes.
 *
 * errno of every ioctl:
 *   EFAULT  the argument is not readable and writable memory. The session may exist all the same.
 *   EINVAL  size is less than that of the first version of the struct, or a flag or a reserved
 *           field is not zero.
 *   E2BIG   size is greater than a page, or a byte that this kernel does not know is not zero.
 *   ENOTTY  the command is unknown.
 *   ENOENT  (all but SESSION_CREATE) this open file has no session.
 */
#ifndef _UAPI_GUIDECOPY_H
#define _UAPI_GUIDECOPY_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define GC_DEVICE_PATH "/dev/guidecopy"

#define GC_PAGE_SHIFT 12

/* Offsets for mmap(2) of the control file, in bytes. */
#define GC_RING_CONSUMER_OFFSET 0x0000
#define GC_RING_PRODUCER_OFFSET 0x1000
#define GC_RING_RECORDS_OFFSET 0x2000

#define GC_RING_MIN_ENTRIES 64

/* The whole consumer page: user space writes tail and nothing else. */
struct gc_ring_consumer {
	__u64 tail; /* number of the first record not yet consumed */
};

/* The whole producer page: read-only to user space. */
struct gc_ring_producer {
	__u64 head; /* number of the next record to be written */
	__u32 entries; /* capacity of the ring in records, a power of two */
	__u32 record_size; /* sizeof(struct gc_record) of this kernel */
	__u32 kick_wanted; /* not 0: somebody waits for room; see GC_IOC_KICK */
	__u32 reserved;
};

/* What the first access was. */
enum gc_kind {
	GC_KIND_READ = 1,
	GC_KIND_WRITE = 2,
	GC_KIND_EXEC = 3,
};

struct gc_record {
	__u64 page; /* index of the page in the session, from 0 */
	__u64 time_ns; /* CLOCK_MONOTONIC; not decreasing from record to record */
	__u32 tid; /* thread that made the access, in the initial PID namespace */
	__u16 kind; /* enum gc_kind */
	__u16 reserved; /* 0 */
	__u64 reserved2; /* 0 */
};

/*
 * Not encoded in the commands: the size of the argument, so that a struct can grow without
 * changing its command.
 */
#define GC_IOC_TYPE 0xE7
#define GC_IOC_SESSION_CREATE _IO(GC_IOC_TYPE, 0x00)
#define GC_IOC_REARM _IO(GC_IOC_TYPE, 0x01)
#define GC_IOC_KICK _IO(GC_IOC_TYPE, 0x02)
#define GC_IOC_STATS _IO(GC_IOC_TYPE, 0x03)

#define GC_NODE_NAME_MAX 32

/*
 * GC_IOC_SESSION_CREATE: make the session of this open file, and its memory node. The node belongs
 * to the caller's fsuid and fsgid, mode 0600. backing_fd may be closed afterwards.
 * backing_offset and length are multiples of 4 KiB.
 *
 * errno:
 *   EBUSY       this open file has a session already
 *   EBADF       backing_fd is no open file, or not open for reading
 *   EOPNOTSUPP  the backing file is on hugetlbfs
 *   ENODEV      the backing file is no regular shmem file
 *   EINVAL      offset or length not aligned, length 0, ring_entries no power of two or less than
 *               GC_RING_MIN_ENTRIES
 *   ENOBUFS     ring_entries is more than the module parameter max_ring_entries
 *   ERANGE      the range reaches beyond the end of the file
 *   EFBIG       the range has 2^32 pages or more
 *   ENOSPC      there are as many sessions as the module can name
 *   ENOMEM      no memory
 */
struct gc_session_create {
	__u32 size;
	__u32 flags; /* 0 */
	__s32 backing_fd;
	__u32 ring_entries;
	__aligned_u64 backing_offset;
	__aligned_u64 length;
	char node[GC_NODE_NAME_MAX]; /* out: "/dev/guidecopy-memN", terminated by 0 */
};

/*
 * GC_IOC_REARM: arm the pages first .. first + count - 1 again.
 * errno: EINVAL count is 0; ERANGE the pages are not all in the session.
 */
struct gc_rearm {
	__u32 size;
	__u32 flags; /* 0 */
	__aligned_u64 first;
	__aligned_u64 count;
};

/*
 * GC_IOC_KICK: tail has advanced: move what was kept aside into the ring, and wake those who wait
 * for room. Needed only when kick_wanted was seen not to be 0 after tail was stored.
 */
struct gc_kick {
	__u32 size;
	__u32 flags; /* 0 */
};

/* GC_IOC_STATS: all fields but size and flags are output only. */
struct gc_stats {
	__u32 size;
	__u32 flags; /* 0 */
	__aligned_u64 pages; /* of the session */
	__aligned_u64 touched; /* pages that are not armed now */
	__aligned_u64 records; /* made since creation, those kept aside included */
	__aligned_u64 rearmed; /* pages that went from touched to armed */
	__aligned_u64 blocked; /* times that a thread slept because the ring was full */
	__aligned_u64 blocked_ns; /* sum of the finished sleeps */
	__aligned_u64 spilled; /* records that had to be kept aside, ever */
	__aligned_u64 dropped; /* always 0 */
	__aligned_u64 garbage; /* bad tails seen in the consumer page */
	__aligned_u64 waiting; /* threads asleep now */
	__aligned_u64 mappings; /* mappings of the node that exist now */
};

/*
 * The memory node: open(2), lseek(2), mmap(2); nothing else.
 * errno:
 *   open   ENODEV  the session is dead
 *   mmap   EACCES  MAP_SHARED: the pristine image must not be written
 *          ENXIO   beyond the end of the session
 *          ENODEV  the session is dead
 */

#endif /* _UAPI_GUIDECOPY_H */
