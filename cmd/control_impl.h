/* Between control.c (the socket) and control_verbs.c (what every process can be asked). */
#ifndef VIO_CMD_CONTROL_IMPL_H
#define VIO_CMD_CONTROL_IMPL_H
#include "control.h"

/* One argument of a declaration (struct vio_verb, args). */
struct control_arg { const char *name, *kind; size_t name_len, kind_len; bool optional; };
bool control_next_arg(const char **spec, struct control_arg *a);
bool control_is_kind(const struct control_arg *a, const char *kind);
bool control_kind_has_fd(const struct control_arg *a);

/* The verb of this name that every process has, or the process's own, or one of the service's; or NULL. */
const struct vio_verb *control_verb(const struct vio_process *p, const char *name);
const struct vio_verb *control_verb_of(const struct vio_service *s, const char *name);
/* Of a device rather than of the process, where both have one of this name: NULL unless every device has it. */
const struct vio_verb *control_verb_of_any_device(const char *name);
/* Who makes this call wants to be told of events. */
void control_want_events(struct vio_command *c);
#endif
