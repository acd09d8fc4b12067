/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A running VM, as a track (track.c) sees it. The track acts on the VM through struct gc_vm_ops and
 * learns of accesses through struct gc_vm_events; it does not know the hypervisor. The backend for
 * KVM is kvm.c; the track's KUnit suite has a fake one.
 */
#ifndef GC_VM_H
#define GC_VM_H

#include <linux/types.h>

#include <guidecopy.h>

struct gc_vm;

/*
 * Events of an attached VM. Addresses are those of the process that runs the VM. Callbacks must not
 * sleep and may run concurrently with each other.
 */
struct gc_vm_events {
	/*
	 * A vCPU faults on the page at address, before the hypervisor maps it. Called in the vCPU's
	 * thread with preemption disabled; the vCPU waits meanwhile. With NULL, neither this nor
	 * unresolved is called, and vCPU faults cost nothing extra.
	 */
	void (*fault)(void *data, u64 address, enum gc_kind kind, u32 vcpu);
	/* A vCPU faults on an address that cannot be translated to one of the process. */
	void (*unresolved)(void *data);
	/* The process unmaps or moves [start, end). */
	void (*unmapped)(void *data, u64 start, u64 end);
	/* The last event: the process's memory is being torn down, or the VM is being detached. */
	void (*gone)(void *data);
};

struct gc_vm_ops {
	/* Detaches and frees the VM. No event is being delivered when it returns, or will be. */
	void (*detach)(struct gc_vm *vm);

	/*
	 * Waits until the faults that were reported so far have mapped their pages. Bounded: a vCPU
	 * may wait for its page indefinitely (userfaultfd(2)), and retries the fault if the page is
	 * zapped meanwhile.
	 */
	void (*drain_faults)(struct gc_vm *vm);

	/* Removes [address, address + length) from the guest's page tables. */
	void (*zap)(struct gc_vm *vm, u64 address, u64 length);

	/*
	 * Locks the memory of the VM's process against being torn down and against mmap(2) and
	 * munmap(2), until unlock_memory(). Sleeps. Errors: ESRCH it is gone, EINTR the caller is
	 * being killed.
	 */
	int (*lock_memory)(struct gc_vm *vm);
	void (*unlock_memory)(struct gc_vm *vm);

	/*
	 * Returns whether a vCPU has accessed [address, address + length) since the last call, and
	 * clears the accessed bits. The caller has locked the memory.
	 */
	bool (*age)(struct gc_vm *vm, u64 address, u64 length);

	/*
	 * Returns the order of the page that the host maps at address now, 0 if it maps none. The
	 * caller has locked the memory.
	 */
	unsigned int (*host_order)(struct gc_vm *vm, u64 address);

	/* As host_order, but for the fault event, which cannot lock the memory. */
	unsigned int (*fault_order)(struct gc_vm *vm, u64 address);
};

/* Embedded in the backend's own struct, which fills it in. */
struct gc_vm {
	const struct gc_vm_ops *ops;
	const struct gc_vm_events *events;
	void *data; /* passed to the events */
};

/*
 * Attaches to the VM behind a file descriptor of the caller. Sets *vm before the first event, which
 * may come before the function returns. Errors: those of GC_IOC_TRACK_CREATE about kvm_fd.
 */
typedef int (*gc_vm_attach_t)(struct gc_vm **vm, int fd, const struct gc_vm_events *events,
			      void *data);

#endif /* GC_VM_H */
