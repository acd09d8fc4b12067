/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * guidecopy: which pages of a VM's memory are touched, and in which order.
 *
 * The whole contract between guidecopy.ko and user space. `make docs` makes a page of it.
 */
#ifndef _UAPI_GUIDECOPY_H
#define _UAPI_GUIDECOPY_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: Overview
 *
 * There are two ways to capture, with one format of records:
 *
 * * A *session* makes the memory of a guide, a second VM that starts from the content of the first
 *   one's RAM block: the first access to each page through it is one record, whoever makes it.
 * * A *track* watches a VM that runs already, in the memory that it has: records come from what KVM
 *   sees of its vCPUs.
 *
 * Either belongs to an open file of /dev/guidecopy, the *control file*: ioctl(2), poll(2), and an
 * mmap(2)'d ring of records. One open file description holds at most one of them::
 *
 *     nothing --SESSION_CREATE or TRACK_CREATE--> live --last reference to the control file--> dead
 *
 * A reference to the control file is an open descriptor or a mapping of the ring: both go when a
 * process dies. The ring's mappings are not inherited by fork(2).
 *
 * A page of a live session or of a live track is, in the order of its life::
 *
 *     armed --first access: one record--> touched --REARM--> armed
 *
 * All pages are armed when it is created. An access at the same time as a REARM counts as before or
 * as after it. What is dead records nothing and blocks nobody.
 */

/**
 * DOC: Sessions
 *
 * A session has, beside the control file, a *memory node*: a character device of its own,
 * /dev/guidecopy-memN, that another process (the guide) maps in place of the RAM block. Page 0 of
 * the node is page 0 of the session. Its size is what lseek(fd, 0, SEEK_END) says.
 *
 * The first access to each page through any mapping of the node makes exactly one record, which is
 * in the ring before the access goes on. What is behind the node is one of two:
 *
 * * A range of a shmem file (a memfd, a file on tmpfs). The node must be mapped privately: what is
 *   written is the writer's own (copy on write) and never reaches the file.
 * * With GC_SESSION_PROCESS, a range of a process's memory of any kind: anonymous, hugetlb, file.
 *   The first access to a page copies it; the copy is the session's, in swappable memory that is
 *   charged to the process that accessed it, and counted in gc_stats.copied. The node may be mapped
 *   privately or shared; a shared mapping writes to the session's copy. The process is only ever
 *   read. A page that cannot be read any more when it is first accessed is a SIGBUS.
 *
 * Mappings of the node that still exist when the session is dead stay valid, with the same content,
 * until they are unmapped; the node is removed from /dev. Of a process, what was not copied until
 * then is then a SIGBUS.
 *
 * REARM unmaps the range from every process that maps the file, the owner of the file included
 * (they fault it in again, which costs time, nothing else), and from KVM guests through their MMU
 * notifiers. A page that somebody has written through a private mapping of the node is that
 * writer's private copy; it stays mapped, so that this writer's accesses are not recorded again.
 * With GC_SESSION_PROCESS, REARM also forgets the session's copies: the next access copies anew.
 *
 * The memory node knows open(2), lseek(2), mmap(2), and nothing else. errno:
 *
 * * open: ENODEV the session is dead
 * * mmap: EACCES MAP_SHARED over a file: the pristine image must not be written
 * * mmap: ENXIO beyond the end of the session; ENODEV the session is dead
 */

/**
 * DOC: Tracks
 *
 * A track watches ranges of the memory of a process that runs a KVM VM. Its pages are numbered from
 * 0 through all of the ranges, in the order in which they were given; where the guest sees them
 * (memory slots) does not matter and may change. No vCPU ever waits for the consumer.
 *
 * * GC_TRACK_ORDER: pages are taken out of the guest's page tables, and the fault of a vCPU that
 *   needs one again is the record, with the vCPU and the kind of the access. Where the host maps a
 *   huge page at that moment, KVM maps all of it too, and one record stands for all of its pages.
 *   When the ring is full the record is dropped and counted: a ring of as many entries as the track
 *   has pages, emptied before each REARM, never is.
 * * GC_TRACK_AGE: no page is taken away from anybody. GC_IOC_SCAN reads and clears the accessed
 *   bits in the guest's page tables, and records the pages that have been accessed since the last
 *   scan.
 *
 * What is seen is what vCPUs access through the VM's page tables: not the device emulation of the
 * VMM, not vhost, not KVM itself. Accesses of a nested guest, and all of a VM that KVM runs by
 * shadow paging, come with an address that says nothing about the VM's memory; they are counted in
 * gc_stats.unresolved. A track of a VM that is seen to use shadow paging is refused. Where KVM was
 * loaded with tdp_mmu=N, one fault can map eight small pages, of which one is recorded.
 *
 * poll(2) says EPOLLHUP when the VM's process is gone. A range of which the process unmaps or moves
 * anything is tracked no more; gc_stats.unmapped counts its pages.
 */

/**
 * DOC: The ring
 *
 * mmap(2) of the control file, at offsets in pages of 4 KiB::
 *
 *     GC_RING_CONSUMER_OFFSET  1 page   struct gc_ring_consumer   user space writes, kernel reads
 *     GC_RING_PRODUCER_OFFSET  1 page   struct gc_ring_producer   kernel writes, user space reads
 *     GC_RING_RECORDS_OFFSET   entries * sizeof(struct gc_record), rounded up to pages;
 *                                       kernel writes, user space reads
 *
 * Each part can be mapped alone. The mapping must be shared; a writable mapping may cover nothing
 * but the consumer page. head and tail count records since creation and never wrap in practice;
 * record number i is in slot i & (entries - 1).
 *
 * To read: load head (acquire); read the records tail .. head - 1; store tail (release); full
 * barrier; load kick_wanted; if it is not 0, GC_IOC_KICK.
 *
 * When head - tail == entries the ring is full. In a session, the thread whose access needs a
 * record then sleeps (killable; not holding the mmap lock) until KICK finds room: nothing is ever
 * dropped, and entries is the limit on how far the guide can run ahead of the consumer. Where the
 * kernel itself touches the page in a context that cannot sleep on a fault retry (ptrace,
 * /proc/PID/mem), the record is kept aside by the kernel, counted in gc_stats.spilled, and moved
 * into the ring, in order, by the next KICK, poll or access. A track drops the record and counts it
 * in gc_stats.dropped; GC_IOC_SCAN ends.
 *
 * The consumer page is not trusted: a tail that is less than the last good one or greater than head
 * is counted in gc_stats.garbage and otherwise ignored.
 *
 * poll(2) on the control file: EPOLLIN when there are unread records, said of many together: the
 * module parameter notify_delay_us after the first that is new since the consumer last read, or at
 * once when an access waits for room; EPOLLHUP when the node had been mapped and is no longer
 * mapped by anybody, or when a track's VM is gone; EPOLLERR when there is neither session nor
 * track.
 */

/**
 * DOC: ioctls
 *
 * Every argument begins with __u32 size, the caller's sizeof its struct, and __u32 flags. A smaller
 * struct than the kernel's is taken as if followed by zeros, a bigger one is taken if what the
 * kernel does not know is zero. On success the kernel writes back at most size bytes.
 *
 * errno of every ioctl:
 *
 * * EFAULT: the argument is not readable and writable memory. What was to be created may exist all
 *   the same.
 * * EINVAL: size is less than that of the first version of the struct, or a flag or a reserved
 *   field is not zero.
 * * E2BIG: size is greater than a page, or a byte that this kernel does not know is not zero.
 * * ENOTTY: the command is unknown.
 * * ENOENT: (all but SESSION_CREATE and TRACK_CREATE) this open file has neither session nor track.
 *
 * The size of the argument is not encoded in the commands, so that a struct can grow without
 * changing its command.
 */

#define GC_DEVICE_PATH "/dev/guidecopy"

#define GC_PAGE_SHIFT 12

/* Offsets for mmap(2) of the control file, in bytes. */
#define GC_RING_CONSUMER_OFFSET 0x0000
#define GC_RING_PRODUCER_OFFSET 0x1000
#define GC_RING_RECORDS_OFFSET 0x2000

#define GC_RING_MIN_ENTRIES 64

/**
 * struct gc_ring_consumer - the whole consumer page
 * @tail: number of the first record not yet consumed
 *
 * User space writes tail and nothing else.
 */
struct gc_ring_consumer {
	__u64 tail;
};

/**
 * struct gc_ring_producer - the whole producer page, read-only to user space
 * @head: number of the next record to be written
 * @entries: capacity of the ring in records, a power of two
 * @record_size: sizeof(struct gc_record) of this kernel
 * @kick_wanted: not 0: somebody waits for room; see GC_IOC_KICK
 * @reserved: 0
 */
struct gc_ring_producer {
	__u64 head;
	__u32 entries;
	__u32 record_size;
	__u32 kick_wanted;
	__u32 reserved;
};

/**
 * enum gc_kind - what the access was
 * @GC_KIND_READ: a read
 * @GC_KIND_WRITE: a write
 * @GC_KIND_EXEC: an instruction fetch
 * @GC_KIND_ANY: one of these, seen by the accessed bit (GC_TRACK_AGE)
 */
enum gc_kind {
	GC_KIND_READ = 1,
	GC_KIND_WRITE = 2,
	GC_KIND_EXEC = 3,
	GC_KIND_ANY = 4,
};

#define GC_NO_VCPU 0xffffffffU

/**
 * struct gc_record - one access
 * @page: index of the page in the session or track, from 0
 * @time_ns: CLOCK_MONOTONIC; not decreasing from record to record
 * @tid: thread that made the access, in the initial PID namespace; with GC_TRACK_AGE, that scanned
 * @kind: enum gc_kind
 * @order: the record stands for the 2^order pages from @page on, all of the session or track, one
 *         of which was accessed: 0 but for a track of a VM in huge pages
 * @vcpu: id of the vCPU with GC_TRACK_ORDER, else GC_NO_VCPU
 * @reserved: 0
 */
struct gc_record {
	__u64 page;
	__u64 time_ns;
	__u32 tid;
	__u16 kind;
	__u16 order;
	__u32 vcpu;
	__u32 reserved;
};

#define GC_IOC_TYPE 0xE7
#define GC_IOC_SESSION_CREATE _IO(GC_IOC_TYPE, 0x00)
#define GC_IOC_REARM _IO(GC_IOC_TYPE, 0x01)
#define GC_IOC_KICK _IO(GC_IOC_TYPE, 0x02)
#define GC_IOC_STATS _IO(GC_IOC_TYPE, 0x03)
#define GC_IOC_TRACK_CREATE _IO(GC_IOC_TYPE, 0x04)
#define GC_IOC_SCAN _IO(GC_IOC_TYPE, 0x05)

#define GC_NODE_NAME_MAX 32

/* Flags of struct gc_session_create. */
#define GC_SESSION_PROCESS 0x1

/**
 * struct gc_session_create - GC_IOC_SESSION_CREATE: make this open file's session, and its node
 * @size: sizeof(struct gc_session_create)
 * @flags: 0 or GC_SESSION_PROCESS
 * @backing_fd: the shmem file; may be closed afterwards. -1 with GC_SESSION_PROCESS
 * @ring_entries: a power of two, at least GC_RING_MIN_ENTRIES
 * @backing_offset: where page 0 is in the file, or its address in the process; multiple of 4 KiB
 * @length: of the range, in bytes; multiple of 4 KiB
 * @node: out: "/dev/guidecopy-memN", terminated by 0
 * @pid: with GC_SESSION_PROCESS the process, in the caller's PID namespace, else 0. Whether it was
 *       the one that was meant can be checked afterwards, with a pidfd.
 * @reserved: 0
 *
 * The node belongs to the caller's fsuid and fsgid, mode 0600. errno:
 *
 * * EBUSY: this open file has a session or a track already
 * * EBADF: backing_fd is no open file, or not open for reading
 * * EOPNOTSUPP: the backing file is on hugetlbfs
 * * ENODEV: the backing file is no regular shmem file
 * * ESRCH: there is no such process, or it is exiting
 * * EPERM: the caller has no CAP_SYS_PTRACE over the process
 * * EINVAL: offset or length not aligned, length 0, ring_entries no power of two or less than
 *   GC_RING_MIN_ENTRIES, backing_fd or pid not as the flags say
 * * ENOBUFS: ring_entries is more than the module parameter max_ring_entries
 * * ERANGE: the range reaches beyond the end of the file, or is not all readable memory of the
 *   process
 * * EFBIG: the range has 2^32 pages or more
 * * ENOSPC: there are as many sessions as the module can name
 * * ENOMEM: no memory
 */
struct gc_session_create {
	__u32 size;
	__u32 flags;
	__s32 backing_fd;
	__u32 ring_entries;
	__aligned_u64 backing_offset;
	__aligned_u64 length;
	char node[GC_NODE_NAME_MAX];
	__s32 pid;
	__u32 reserved;
};

/**
 * enum gc_track_mode - how a track learns of accesses
 * @GC_TRACK_ORDER: by the faults of vCPUs
 * @GC_TRACK_AGE: by accessed bits, when GC_IOC_SCAN asks
 */
enum gc_track_mode {
	GC_TRACK_ORDER = 1,
	GC_TRACK_AGE = 2,
};

#define GC_TRACK_MAX_RANGES 64

/**
 * struct gc_range - a range of a process's memory
 * @address: multiple of 4 KiB
 * @length: in bytes; multiple of 4 KiB
 */
struct gc_range {
	__aligned_u64 address;
	__aligned_u64 length;
};

/**
 * struct gc_track_create - GC_IOC_TRACK_CREATE: make the track of this open file
 * @size: sizeof(struct gc_track_create)
 * @flags: 0
 * @kvm_fd: a KVM VM, as KVM_CREATE_VM returned it to the process that runs it; may be closed
 *          afterwards
 * @mode: enum gc_track_mode
 * @ring_entries: a power of two, at least GC_RING_MIN_ENTRIES; or 0: enough for all pages
 * @range_count: 1 .. GC_TRACK_MAX_RANGES
 * @ranges: address of an array of struct gc_range, in the memory of the process that runs the VM;
 *          they may not overlap
 *
 * errno:
 *
 * * EBUSY: this open file has a session or a track already
 * * EBADF: kvm_fd is no open file
 * * ENODEV: kvm_fd is no KVM VM
 * * EOPNOTSUPP: the VM is seen to use shadow paging; or the module was built for a kernel without
 *   KVM, or with PREEMPT_RT
 * * ESRCH: the process that runs the VM is gone
 * * EINVAL: unknown mode, no range or too many, an address or a length not aligned, a length 0,
 *   ranges that overlap, ring_entries no power of two or less than GC_RING_MIN_ENTRIES
 * * ENOBUFS: ring_entries is more than twice what all pages need
 * * EFBIG: 2^32 pages or more
 * * ENOMEM: no memory
 */
struct gc_track_create {
	__u32 size;
	__u32 flags;
	__s32 kvm_fd;
	__u32 mode;
	__u32 ring_entries;
	__u32 range_count;
	__aligned_u64 ranges;
};

/**
 * struct gc_rearm - GC_IOC_REARM: arm the pages first .. first + count - 1 again
 * @size: sizeof(struct gc_rearm)
 * @flags: 0
 * @first: page
 * @count: of pages
 *
 * With GC_TRACK_AGE the accessed bits are cleared and nothing is recorded.
 *
 * errno: EINVAL count is 0; ERANGE the pages are not all in the session or track; with
 * GC_TRACK_AGE, EINTR a signal came, and some are armed; ESRCH the VM's process is gone.
 */
struct gc_rearm {
	__u32 size;
	__u32 flags;
	__aligned_u64 first;
	__aligned_u64 count;
};

/**
 * struct gc_kick - GC_IOC_KICK: tail has advanced
 * @size: sizeof(struct gc_kick)
 * @flags: 0
 *
 * Moves what was kept aside into the ring, and wakes those who wait for room. Needed only when
 * kick_wanted was seen not to be 0 after tail was stored.
 */
struct gc_kick {
	__u32 size;
	__u32 flags;
};

/**
 * struct gc_scan - GC_IOC_SCAN: record which pages were accessed since the last scan or REARM
 * @size: sizeof(struct gc_scan)
 * @flags: 0
 * @first: page
 * @count: of pages, not 0
 * @scanned: out: pages looked at; less than count when the ring is full or a signal came. The next
 *           scan goes on at first + scanned. Can exceed count by a part of a huge page.
 * @young: out: pages of these that had been accessed
 *
 * An access that goes through an entry of a vCPU's TLB does not set the accessed bit again: what
 * was scanned a moment ago may be missing from the next scan.
 *
 * errno: EINVAL count is 0; ERANGE the pages are not all in the track; ENOTTY this is no
 * GC_TRACK_AGE track; ESRCH the VM's process is gone.
 */
struct gc_scan {
	__u32 size;
	__u32 flags;
	__aligned_u64 first;
	__aligned_u64 count;
	__aligned_u64 scanned;
	__aligned_u64 young;
};

/**
 * struct gc_stats - GC_IOC_STATS
 * @size: sizeof(struct gc_stats)
 * @flags: 0
 * @pages: out: of the session or track
 * @touched: out: pages that are not armed now; 0 with GC_TRACK_AGE
 * @records: out: made since creation, those kept aside included
 * @rearmed: out: pages that went from touched to armed
 * @blocked: out: times that a thread slept because the ring was full
 * @blocked_ns: out: sum of the finished sleeps
 * @spilled: out: records that had to be kept aside, ever
 * @dropped: out: records lost because the ring was full; always 0 for a session
 * @garbage: out: bad tails seen in the consumer page
 * @waiting: out: threads asleep now
 * @mappings: out: mappings of the node that exist now
 * @copied: out: pages that the session keeps a copy of now (GC_SESSION_PROCESS)
 * @unresolved: out: faults of vCPUs that could not be related to the VM's memory (GC_TRACK_ORDER)
 * @unmapped: out: pages of the track in ranges of which the process has unmapped something
 */
struct gc_stats {
	__u32 size;
	__u32 flags;
	__aligned_u64 pages;
	__aligned_u64 touched;
	__aligned_u64 records;
	__aligned_u64 rearmed;
	__aligned_u64 blocked;
	__aligned_u64 blocked_ns;
	__aligned_u64 spilled;
	__aligned_u64 dropped;
	__aligned_u64 garbage;
	__aligned_u64 waiting;
	__aligned_u64 mappings;
	__aligned_u64 copied;
	__aligned_u64 unresolved;
	__aligned_u64 unmapped;
};

#endif /* _UAPI_GUIDECOPY_H */
