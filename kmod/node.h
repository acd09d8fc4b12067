/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /dev/guidecopy-memN: the memory of one session, for a guide to map.
 *
 * A node owns its session and its backing. It lives as long as its struct device has references:
 * one is held by the control file, one by each open file of the node. Each VMA holds a reference to
 * the node's file that it was created from (its vm_file is the backing file), and so does a thread
 * asleep in a fault. These file references also keep the module from being unloaded.
 */
#ifndef GC_NODE_H
#define GC_NODE_H

#include <linux/cdev.h>
#include <linux/device.h>

#include "account.h"
#include "backing.h"
#include "capture.h"

struct gc_node {
	struct device dev;
	struct cdev cdev;
	struct gc_capture capture;
	struct gc_backing backing;
	struct gc_account account;
	kuid_t uid; /* owner of the device file */
	kgid_t gid;
};

/* Creates a session and its node, and stores the node's name in arg. Errors: those of the ioctl. */
struct gc_capture *gc_node_create(struct gc_session_create *arg);

int gc_node_register(void);
void gc_node_unregister(void);

#endif /* GC_NODE_H */
