/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A track records which pages of a running VM its vCPUs access. It combines a session (session.c),
 * the page numbering (ranges.c) and a VM (vm.h).
 */
#ifndef GC_TRACK_H
#define GC_TRACK_H

#include "capture.h"
#include "vm.h"

/* Limits that the track's owner sets. */
struct gc_track_limits {
	u32 max_entries; /* of the ring, a power of two */
	/* Charges memory before it is allocated. The caller of gc_track_create() takes it back. */
	int (*charge)(void *data, u64 bytes);
	void *data;
};

/*
 * Creates a track of the VM that attach() finds behind arg->kvm_fd, with all pages armed. ranges is
 * the kernel's copy of arg->ranges. Errors: those of GC_IOC_TRACK_CREATE.
 */
struct gc_capture *gc_track_create(const struct gc_track_create *arg,
				   const struct gc_range *ranges, gc_vm_attach_t attach,
				   const struct gc_track_limits *limits);

#endif /* GC_TRACK_H */
