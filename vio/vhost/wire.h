/*
 * Messages on a vhost-user socket: received piece by piece without ever waiting, checked against the table of messages.def
 * before anybody acts on them, and sent.
 *
 * The descriptors of a message belong to its struct: who keeps one takes it out with vio_vhost_take_fd(); the others are
 * closed with vio_vhost_message_close(), on every path.
 */
#ifndef VIO_VHOST_WIRE_H
#define VIO_VHOST_WIRE_H
#include <vio/vhost/proto.h>
VIO_BEGIN_DECLS

enum vio_vhost_message_id {
#define VIO_MESSAGE(name, id, ...) VIO_MSG_##name = id,
#define VIO_BACKEND_MESSAGE(name, id, ...) VIO_MSG_##name = id,
#include <vio/vhost/messages.def>
	VIO_MSG_LIMIT = 44
};

enum vio_vhost_payload_kind {
	VIO_PAYLOAD_NONE, VIO_PAYLOAD_U64, VIO_PAYLOAD_STATE, VIO_PAYLOAD_ADDR, VIO_PAYLOAD_TABLE, VIO_PAYLOAD_REGION,
	VIO_PAYLOAD_LOG, VIO_PAYLOAD_IOTLB, VIO_PAYLOAD_CONFIG, VIO_PAYLOAD_INFLIGHT, VIO_PAYLOAD_TRANSFER, VIO_PAYLOAD_RINGFD, VIO_PAYLOAD_OTHER
};
enum vio_vhost_reply_kind { VIO_REPLY_ACK, VIO_REPLY_STATUS, VIO_REPLY_ANSWER };
enum vio_vhost_allowed { VIO_ALLOWED_ALWAYS, VIO_ALLOWED_RING, VIO_ALLOWED_ALL };
enum vio_vhost_quiets { VIO_QUIETS_NOTHING, VIO_QUIETS_RING, VIO_QUIETS_REGION, VIO_QUIETS_DEVICE };

/* What messages.def may ask for in its column "needs" beyond what proto.h knows: never offered. */
enum {
	VIO_VHOST_F_RARP = 2, VIO_VHOST_F_MTU = 4, VIO_VHOST_F_CROSS_ENDIAN = 6, VIO_VHOST_F_CRYPTO_SESSION = 7,
	VIO_VHOST_F_PAGEFAULT = 8, VIO_VHOST_F_SHARED_OBJECT = 18,
	VIO_VHOST_F_NEVER = 62, VIO_VHOST_F_NONE = 63
};

struct vio_vhost_message_type {
	const char *name;		/* NULL: there is no such message */
	const char *needs_name;
	uint16_t size_min, size_max;
	uint8_t fds_min, fds_max;
	uint8_t payload, reply, allowed, quiets;	/* the enums above */
	uint8_t needs;			/* protocol feature bit, VIO_VHOST_F_NONE */
};
extern const struct vio_vhost_message_type vio_vhost_message_types[VIO_MSG_LIMIT];

struct vio_vhost_message {
	struct vio_vhost_header header;
	union vio_vhost_payload payload;
	int fd[VIO_VHOST_FDS];
	unsigned fds;
	bool fds_lost;			/* more came than a message may carry */
	uint32_t have;			/* bytes received */
};
VIO_STATIC_ASSERT(offsetof(struct vio_vhost_message, payload) == 16, "the payload is aligned, the header's 12 bytes are not in it");

static inline void vio_vhost_message_init(struct vio_vhost_message *m) { m->fds = 0; m->have = 0; m->fds_lost = false; }
void vio_vhost_message_close(struct vio_vhost_message *m);	/* its descriptors; then ready for the next one */
int vio_vhost_take_fd(struct vio_vhost_message *m, unsigned i);	/* -1: it has none there */

enum vio_vhost_got {
	VIO_GOT_ALL,		/* a message is complete */
	VIO_GOT_PART,		/* the rest has not come yet */
	VIO_GOT_END,		/* the other side has hung up, or the socket broke */
	VIO_GOT_NONSENSE	/* *why says why nothing that follows can be understood */
};
/* Receive what there is of one message (replies: of one reply), never more. */
enum vio_vhost_got vio_vhost_receive(int sock, struct vio_vhost_message *m, bool replies, const char **why);

/*
 * Is a complete message one that the table knows, of the right size, with the right descriptors, and has the feature it
 * needs been negotiated?  NULL, or why not, in words.
 */
const char *vio_vhost_check(const struct vio_vhost_message *m, uint64_t protocol_features);

/* Bytes on their way out. */
struct vio_vhost_out {
	uint32_t at, len;		/* at == len: nothing is left */
	int fd;				/* goes with the first byte; the caller's; -1 */
	uint8_t bytes[12 + 12 + VIO_VHOST_CONFIG_BYTES];
};
/* size <= 268.  The one before has left. */
void vio_vhost_put(struct vio_vhost_out *o, uint32_t request, uint32_t flags, const void *payload, uint32_t size, int fd);
/* Send what is left.  False: the socket broke.  o->at < o->len: it is full, try again when it is writable. */
bool vio_vhost_send(int sock, struct vio_vhost_out *o);
VIO_END_DECLS
#endif
