/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * guidecopy: records which pages of a VM's memory are accessed, and in which order.
 *
 * This header is the whole contract between guidecopy.ko and user space. `make docs` renders it.
 */
#ifndef _UAPI_GUIDECOPY_H
#define _UAPI_GUIDECOPY_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: Overview
 *
 * The module captures accesses to pages of 4 KiB in one of two ways. Both deliver the same records:
 *
 * * A *session* provides the memory of a guide: a second VM that starts with the memory content of
 *   a first one. The first access to each page of that memory makes a record, whoever accesses it.
 * * A *track* watches a VM that is already running, in the memory it has. KVM's view of the VM's
 *   vCPUs provides the records.
 *
 * A process opens /dev/guidecopy and creates a session or a track with an ioctl. The open file
 * description, called the *control file*, holds at most one of them and never a second one. It
 * supports ioctl(2), poll(2), and mmap(2) of the ring that delivers the records::
 *
 *                SESSION_CREATE
 *                TRACK_CREATE             last reference dropped
 *     (nothing) ----------------> live ---------------------------> dead
 *
 * The references are the file descriptors of the control file and the mappings of the ring. A
 * process drops its references when it exits; mappings of the ring are not inherited across
 * fork(2). A dead session or track records nothing and blocks no thread.
 *
 * Each page of a live session or track is either armed or touched. Creation arms all pages::
 *
 *                  first access: one record
 *     armed --------------------------------------> touched    (further accesses: no record)
 *       ^                                              |
 *       '------------------- REARM --------------------'
 *
 * An access concurrent with REARM counts as either before or after it. A track in GC_TRACK_AGE mode
 * does not use these states; GC_IOC_SCAN makes its records.
 */

/**
 * DOC: Sessions
 *
 * A session has a *memory node* in addition to its control file: a file without a name, of a file
 * system of the module's own, that the guide's process maps in place of a RAM block. SESSION_CREATE
 * returns a descriptor of it, which is inherited or passed on. A program that takes a path, such as
 * QEMU for memory-backend-file, opens /proc/self/fd/N, which makes a new open file. As for a memfd,
 * another process can open the node through /proc/PID/fd if it may trace that process (ptrace(2)),
 * which also lets it read that process's memory; the node's owner and mode do not matter.
 *
 * Page 0 of the node is page 0 of the session; lseek(fd, 0, SEEK_END) returns the node's size.
 *
 * The first access to a page through any mapping of the node makes exactly one record, which is in
 * the ring before the access proceeds. The content of the pages comes from one of two places:
 *
 * * A range of a shmem file (a memfd or a file on tmpfs). The node must be mapped privately: writes
 *   go to the writer's own copy and never reach the file.
 * * With GC_SESSION_PROCESS, a range of a process's memory of any kind: anonymous, hugetlb or file.
 *   The first access to a page copies it. The copy belongs to the session; it is swappable, charged
 *   to the accessing process and counted in gc_stats.copied. The node may be mapped privately or
 *   shared; writes through a shared mapping go to the session's copy. The process's memory is only
 *   read. If the page can no longer be read at its first access, the access raises SIGBUS.
 *
 * When a session dies, its node cannot be opened or mapped any more. Existing mappings stay valid,
 * with the same content, until they are unmapped; but pages of a process that were not copied by
 * then raise SIGBUS.
 *
 * REARM unmaps the range from all processes that map the file, including its owner, which merely
 * take a page fault again, and from KVM guests through their MMU notifiers. A page written through
 * a private mapping of the node is the writer's own copy and stays mapped, so the writer's later
 * accesses are not recorded. With GC_SESSION_PROCESS, REARM also discards the session's copies: the
 * next access copies the page again.
 *
 * The memory node supports open(2) as above, lseek(2), fstat(2) and mmap(2) only. Errors:
 *
 * * open: ENODEV if the session is dead, EPERM with O_TRUNC
 * * mmap: EACCES for MAP_SHARED if the session is over a file, which must not be written; ENXIO if
 *   the range is beyond the end of the session; ENODEV if the session is dead
 */

/**
 * DOC: Tracks
 *
 * A track watches ranges of the memory of a process that runs a KVM VM. Its pages are numbered from
 * 0, consecutively through all ranges in the order given. Where the guest sees the memory (memory
 * slots) does not matter and may change. No vCPU ever waits for the consumer. There are two modes:
 *
 * * GC_TRACK_ORDER removes pages from the guest's page tables. A vCPU that accesses an armed page
 *   faults, and the fault makes a record with the vCPU and the kind of access. If the host maps a
 *   huge page there, KVM maps all of it at once, and one record stands for all its pages. If the
 *   ring is full, the record is dropped and counted. A ring with an entry for every page of the
 *   track, emptied before each REARM, never drops a record.
 * * GC_TRACK_AGE leaves the page tables in place. GC_IOC_SCAN reads and clears the accessed bits in
 *   them and records the pages that were accessed since the last scan.
 *
 * A track sees the accesses of vCPUs through the VM's page tables. It does not see those of the
 * VMM's device emulation, of vhost, or of KVM itself. Accesses of a nested guest, and all accesses
 * under shadow paging, come with an address that cannot be related to the VM's memory; they are
 * counted in gc_stats.unresolved. GC_IOC_TRACK_CREATE refuses a VM that visibly uses shadow paging.
 * If KVM was loaded with tdp_mmu=N, one fault can map eight small pages, of which one is recorded.
 *
 * If the process unmaps or moves any part of a range, the track ignores the whole range from then
 * on, and counts its pages in gc_stats.unmapped. poll(2) reports EPOLLHUP when the process is gone.
 */

/**
 * DOC: The ring
 *
 * mmap(2) of the control file maps the ring. The layout, at offsets in bytes::
 *
 *     offset                    size            content                   user space   kernel
 *     GC_RING_CONSUMER_OFFSET   1 page          struct gc_ring_consumer   writes       reads
 *     GC_RING_PRODUCER_OFFSET   1 page          struct gc_ring_producer   reads        writes
 *     GC_RING_RECORDS_OFFSET    entries records struct gc_record[]        reads        writes
 *                               rounded up to
 *                               whole pages
 *
 * A mapping may cover any part of it. Errors:
 *
 * * ENOENT: the control file has neither a session nor a track
 * * EINVAL: the mapping is not shared
 * * EPERM: the mapping is writable and covers anything but the consumer page
 * * ENXIO: the mapping extends beyond the end of the ring
 *
 * tail and head number records from 0 and do not wrap within any realistic uptime. Record i is in
 * slot i & (entries - 1)::
 *
 *              tail                head               tail + entries
 *     ... read  |  unread records   |  free slots      |
 *
 * The ring is empty if head == tail and full if head - tail == entries. To consume records:
 *
 * 1. load head with acquire semantics
 * 2. read the records from tail to head - 1
 * 3. store the new tail with release semantics
 * 4. issue a full memory barrier
 * 5. load kick_wanted; if it is not 0, call GC_IOC_KICK
 *
 * If the ring of a session is full, a thread whose access needs a record sleeps until a KICK finds
 * room. The sleep is killable and does not hold the mmap lock. So no record is ever dropped, and
 * entries bounds how far the guide can run ahead of the consumer. If the kernel itself accesses the
 * page in a context that cannot retry the fault (ptrace(2), /proc/PID/mem), it keeps the record
 * aside, counts it in gc_stats.spilled, and moves it into the ring, in order, at the next KICK,
 * poll(2) or access.
 *
 * A worker of a kernel workqueue never sleeps for room. KVM lets one take the page of a vCPU's
 * fault (asynchronous page faults, with the interrupt controllers in the kernel). If the ring is
 * full, the worker gets nothing, and KVM repeats the fault in the vCPU's thread, which sleeps. If
 * there is room, the record is the worker's: gc_record.tid is its thread id.
 *
 * If the ring of a track is full, the record is dropped and counted in gc_stats.dropped, and
 * GC_IOC_SCAN ends early.
 *
 * The kernel does not trust the consumer page. A tail that is less than the last valid one or
 * greater than head is counted in gc_stats.garbage and otherwise ignored.
 *
 * poll(2) on the control file reports:
 *
 * * EPOLLIN if there are unread records. Records are reported in batches: notify_delay_us (a module
 *   parameter) after the first one that arrived since the consumer last read, or at once if an
 *   access waits for room.
 * * EPOLLHUP if a session's node was mapped and no mapping is left, or if a track's VM is gone.
 * * EPOLLERR if the control file has neither a session nor a track.
 */

/**
 * DOC: ioctls
 *
 * Each argument is a struct that begins with __u32 size, the caller's sizeof the struct, and
 * __u32 flags. Structs grow at their end, and old and new versions are compatible both ways: a
 * struct shorter than the kernel's is extended with zeros, and a longer one is accepted if all
 * bytes that the kernel does not know are zero. On success the kernel writes back at most size
 * bytes. The command does not encode the size, so it stays the same when its struct grows.
 *
 * Errors of every ioctl:
 *
 * * EFAULT: the argument is not readable and writable memory. A session or track may have been
 *   created all the same, a session without a descriptor of its node.
 * * EINVAL: size is less than that of the struct's first version, or an unknown flag or a reserved
 *   field is not zero.
 * * E2BIG: size is greater than a page, or a byte unknown to this kernel is not zero.
 * * ENOTTY: unknown command.
 * * ENOENT: the control file has neither a session nor a track. Not SESSION_CREATE, TRACK_CREATE.
 *
 * The memory that a session or track keeps is that of its ring, 32 bytes an entry, and of its sets
 * of pages, one bit a page: one set, or two with GC_SESSION_PROCESS. It is charged to the user who
 * creates it, until the session or track and all descriptors and mappings of its node are gone, in
 * the same account as the locked memory of io_uring and iommufd, and limited by the caller's
 * RLIMIT_MEMLOCK. A caller with CAP_IPC_LOCK is neither charged nor limited. Copies of a process's
 * pages are not charged; they can be swapped.
 */

#define GC_DEVICE_PATH "/dev/guidecopy"

#define GC_PAGE_SHIFT 12

/* Offsets for mmap(2) of the control file, in bytes. */
#define GC_RING_CONSUMER_OFFSET 0x0000
#define GC_RING_PRODUCER_OFFSET 0x1000
#define GC_RING_RECORDS_OFFSET 0x2000

#define GC_RING_MIN_ENTRIES 64

/**
 * struct gc_ring_consumer - the consumer page, written by user space
 * @tail: number of the first unread record
 *
 * User space writes only tail; the rest of the page is unused.
 */
struct gc_ring_consumer {
	__u64 tail;
};

/**
 * struct gc_ring_producer - the producer page, read-only for user space
 * @head: number of the next record to be written
 * @entries: capacity of the ring in records, a power of two
 * @record_size: this kernel's sizeof(struct gc_record)
 * @kick_wanted: not 0 if a thread or a spilled record waits for room; see GC_IOC_KICK
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
 * enum gc_kind - kind of an access
 * @GC_KIND_READ: read
 * @GC_KIND_WRITE: write
 * @GC_KIND_EXEC: instruction fetch
 * @GC_KIND_ANY: any of these; an accessed bit was set (GC_TRACK_AGE)
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
 * @page: number of the page in the session or track, from 0
 * @time_ns: CLOCK_MONOTONIC in nanoseconds; never decreases from one record to the next
 * @tid: thread id in the initial PID namespace: of the accessing thread, or with GC_TRACK_AGE of
 *       the thread that called GC_IOC_SCAN
 * @kind: enum gc_kind
 * @order: the record stands for 2^order pages from @page on, all of them in the session or track,
 *         at least one of which was accessed. Not 0 only for a track whose VM is backed by huge
 *         pages
 * @vcpu: with GC_TRACK_ORDER the id of the vCPU, else GC_NO_VCPU
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

/* Flags of struct gc_session_create. */
#define GC_SESSION_PROCESS 0x1

/**
 * struct gc_session_create - GC_IOC_SESSION_CREATE: create a session and its memory node
 * @size: sizeof(struct gc_session_create)
 * @flags: 0 or GC_SESSION_PROCESS
 * @backing_fd: the shmem file, open for reading; -1 with GC_SESSION_PROCESS. May be closed
 *              afterwards
 * @ring_entries: capacity of the ring, a power of two, at least GC_RING_MIN_ENTRIES
 * @backing_offset: offset of page 0 in the file, or its address in the process; in bytes, a
 *                  multiple of 4 KiB
 * @length: of the range, in bytes; a multiple of 4 KiB, not 0
 * @pid: with GC_SESSION_PROCESS the process, in the caller's PID namespace; else 0. A pid may have
 *       been reused: hold a pidfd and check afterwards that the process is still the one meant.
 *       Nothing is read of the process before an access to the node. (Kernels up to 7.3 export no
 *       function to modules that looks up a pidfd.)
 * @node_fd: out: a descriptor of the memory node, open for reading and writing, with O_CLOEXEC set
 *
 * Errors:
 *
 * * EBUSY: the control file already has a session or a track
 * * EBADF: backing_fd is not an open file, or not open for reading
 * * EMFILE: the caller has no descriptor left
 * * EOPNOTSUPP: backing_fd is on hugetlbfs
 * * ENODEV: backing_fd is not a regular shmem file
 * * ESRCH: the process does not exist or is exiting
 * * EPERM: the caller lacks CAP_SYS_PTRACE over the process
 * * EINVAL: backing_offset or length is not aligned, length is 0, ring_entries is not a power of
 *   two or less than GC_RING_MIN_ENTRIES, or backing_fd or pid does not match flags
 * * ENOBUFS: ring_entries exceeds the module parameter max_ring_entries
 * * ENOMEM: out of memory; or the memory of the ring and of the set of pages would exceed the
 *   user's RLIMIT_MEMLOCK, see above
 * * ENOSPC: the user has as many sessions and tracks as the module parameter max_captures_per_user
 *   allows, and the caller lacks CAP_SYS_RESOURCE
 * * ERANGE: the range extends beyond the end of the file, or is not entirely readable memory of the
 *   process
 * * EFBIG: the range has 2^32 pages or more
 */
struct gc_session_create {
	__u32 size;
	__u32 flags;
	__s32 backing_fd;
	__u32 ring_entries;
	__aligned_u64 backing_offset;
	__aligned_u64 length;
	__s32 pid;
	__s32 node_fd;
};

/**
 * enum gc_track_mode - how a track learns of accesses
 * @GC_TRACK_ORDER: from the faults of vCPUs, as they happen
 * @GC_TRACK_AGE: from accessed bits, at GC_IOC_SCAN
 */
enum gc_track_mode {
	GC_TRACK_ORDER = 1,
	GC_TRACK_AGE = 2,
};

#define GC_TRACK_MAX_RANGES 64

/**
 * struct gc_range - a range of a process's memory
 * @address: of its first byte; a multiple of 4 KiB
 * @length: in bytes; a multiple of 4 KiB, not 0
 */
struct gc_range {
	__aligned_u64 address;
	__aligned_u64 length;
};

/**
 * struct gc_track_create - GC_IOC_TRACK_CREATE: create a track
 * @size: sizeof(struct gc_track_create)
 * @flags: 0
 * @kvm_fd: the VM: the caller's descriptor of the file that KVM_CREATE_VM returned to the process
 *          that runs it. May be closed afterwards
 * @mode: enum gc_track_mode
 * @ring_entries: capacity of the ring, a power of two, at least GC_RING_MIN_ENTRIES; or 0 for the
 *                default: one entry per page, rounded up to a power of two, at most the module
 *                parameter max_track_entries
 * @range_count: 1 to GC_TRACK_MAX_RANGES
 * @ranges: address of an array of struct gc_range, which describe memory of the process that runs
 *          the VM and must not overlap
 *
 * Errors:
 *
 * * EBUSY: the control file already has a session or a track
 * * EBADF: kvm_fd is not an open file
 * * ENODEV: kvm_fd is not a KVM VM
 * * EOPNOTSUPP: the VM uses shadow paging; or the module was built for a kernel without KVM or with
 *   PREEMPT_RT
 * * ESRCH: the process that runs the VM is gone
 * * EINTR: a signal arrived: with GC_TRACK_ORDER a fatal one, with GC_TRACK_AGE any
 * * EINVAL: mode is unknown, range_count is 0 or too large, an address or length is not aligned, a
 *   length is 0, ranges overlap, a range is not entirely below the end of user space's addresses,
 *   or ring_entries is not a power of two or less than GC_RING_MIN_ENTRIES
 * * ENOBUFS: ring_entries is more than twice one entry per page, rounded up to a power of two, or
 *   exceeds the module parameter max_track_entries
 * * EFBIG: the ranges have 2^32 pages or more
 * * ENOMEM, ENOSPC: as for GC_IOC_SESSION_CREATE
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
 * struct gc_rearm - GC_IOC_REARM: arm the pages from first to first + count - 1
 * @size: sizeof(struct gc_rearm)
 * @flags: 0
 * @first: number of the first page
 * @count: number of pages, not 0
 *
 * With GC_TRACK_AGE, clears the accessed bits and records nothing.
 *
 * Errors:
 *
 * * EINVAL: count is 0
 * * ERANGE: the range extends beyond the session or track
 * * EINTR: a signal arrived: a fatal one, or with GC_TRACK_AGE any. Some of the pages may be armed;
 *   accesses to these may be missed until they are armed again
 * * ESRCH: the VM's process is gone (GC_TRACK_AGE)
 */
struct gc_rearm {
	__u32 size;
	__u32 flags;
	__aligned_u64 first;
	__aligned_u64 count;
};

/**
 * struct gc_kick - GC_IOC_KICK: tell the kernel that tail has advanced
 * @size: sizeof(struct gc_kick)
 * @flags: 0
 *
 * Moves spilled records into the ring and wakes the threads that wait for room. Needed only if
 * kick_wanted is not 0 after storing tail.
 */
struct gc_kick {
	__u32 size;
	__u32 flags;
};

/**
 * struct gc_scan - GC_IOC_SCAN: record the pages accessed since the last SCAN or REARM
 * @size: sizeof(struct gc_scan)
 * @flags: 0
 * @first: number of the first page
 * @count: number of pages, not 0
 * @scanned: out: number of pages scanned; the next scan continues at @first + @scanned. Less than
 *           @count if the ring was full or a signal arrived. May exceed @count by the rest of a
 *           huge page or of an unmapped range
 * @young: out: how many of these pages had been accessed
 *
 * The scan does not flush TLBs. An access through a TLB entry does not set the accessed bit again,
 * so a page in constant use may be missing from a scan that soon follows another.
 *
 * Errors:
 *
 * * EINVAL: count is 0
 * * ERANGE: the range extends beyond the track
 * * ENOTTY: not a track in GC_TRACK_AGE mode
 * * ESRCH: the VM's process is gone
 * * EINTR: a fatal signal arrived
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
 * struct gc_stats - GC_IOC_STATS: read the counters
 * @size: sizeof(struct gc_stats)
 * @flags: 0
 * @pages: out: pages in the session or track
 * @touched: out: pages touched now; 0 with GC_TRACK_AGE
 * @records: out: records made since creation, including spilled ones
 * @rearmed: out: transitions of a page from touched to armed
 * @blocked: out: number of times a thread slept because the ring was full
 * @blocked_ns: out: total duration of the sleeps that have ended, in nanoseconds
 * @spilled: out: records kept aside since creation because the ring was full
 * @dropped: out: records lost because the ring was full; always 0 for a session
 * @garbage: out: invalid tails found in the consumer page
 * @waiting: out: threads asleep now
 * @mappings: out: mappings of the node now
 * @copied: out: pages of which the session holds a copy now (GC_SESSION_PROCESS)
 * @unresolved: out: vCPU faults on an address that cannot be related to the VM's memory
 *              (GC_TRACK_ORDER)
 * @unmapped: out: pages of the ranges that the process has unmapped or moved in part or whole
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
