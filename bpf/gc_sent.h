/* SPDX-License-Identifier: GPL-2.0-only */
/* The map of quarantine.bpf.c, which gcctl reads. */
#ifndef GC_SENT_H
#define GC_SENT_H

#include <linux/types.h>

enum gc_sent_kind {
	GC_SENT_ARP,
	GC_SENT_IPV4,
	GC_SENT_IPV6,
	GC_SENT_OTHER,
	GC_SENT_KINDS
};

struct gc_sent {
	__u64 packets;	/* as the guest's NIC sends them: a GSO packet counts as one */
	__u64 bytes;	/* including Ethernet headers */
};

#endif /* GC_SENT_H */
