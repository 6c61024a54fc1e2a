/*
 * The life of a device daemon, whatever the device:
 *
 *   options -> threads -> back ends and devices -> sockets -> vhost-user -> confinement -> serve until SIGTERM,
 *   SIGINT or (--once, --connect) the front ends have gone -> stop, flush, close, remove the sockets
 *
 * What the devices are is unit.h.
 */
#ifndef VIO_CMD_DAEMON_H
#define VIO_CMD_DAEMON_H
#include "unit.h"
#include <vio/vhost/backend.h>

#define VIO_VERSION "0.1.0"

enum {	/* the common options, in the order of their table */
	VIO_OPT_SOCKET_PATH, VIO_OPT_FD, VIO_OPT_CONNECT, VIO_OPT_SOCKET_GROUP, VIO_OPT_SOCKET_MODE, VIO_OPT_IOMMU, VIO_OPT_RING,
	VIO_OPT_ONCE, VIO_OPT_CONTROL, VIO_OPT_SANDBOX, VIO_OPT_STOP_DEADLINE, VIO_OPT_VERBOSE, VIO_OPT_PRINT_CAPABILITIES, VIO_OPT_HELP, VIO_OPT_VERSION,
	VIO_OPT_COMMON
};
extern const struct vio_opt vio_daemon_options[VIO_OPT_COMMON];

extern const struct vio_service vio_service_balloon;
extern const struct vio_service vio_service_blk;
extern const struct vio_service vio_service_console;
extern const struct vio_service vio_service_fs;
extern const struct vio_service vio_service_input;
extern const struct vio_service vio_service_net;
extern const struct vio_service vio_service_rng;
extern const struct vio_service vio_service_scsi;
extern const struct vio_service vio_service_switch;
extern const struct vio_service vio_service_vsock;

/* The device-independent features that a device opened with these options is offered with. */
struct vio_features vio_daemon_wire(const struct vio_arg *args);

/* Tell the service manager that we serve (sd_notify(3)), at the socket that NOTIFY_SOCKET names; nothing without one. */
bool vio_notify_open(char *why);
void vio_notify_ready(void);

int vio_daemon(const struct vio_service *s, int argc, char **argv);
int vio_cmd_fs(int argc, char **argv);	/* takes another program's options too */
#endif
