/* SPDX-License-Identifier: GPL-2.0-only */
/* What quarantine.bpf.c and its reader share. */
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
	__u64 packets;	/* as the guest handed them to its NIC: one that it left to cut up is one */
	__u64 bytes;	/* with their Ethernet headers */
};

#endif /* GC_SENT_H */
