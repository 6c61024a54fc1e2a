/* What pci_config.c and pci_dev.c share. */
#ifndef VIO_TRANSPORT_PCI_IMPL_H
#define VIO_TRANSPORT_PCI_IMPL_H
#include <vio/transport/pci.h>

enum { PCI_ISR_AT = 0x1000, PCI_DEVICE_AT = 0x2000, PCI_NOTIFY_AT = 0x3000 };	/* in BAR 0; the MSI-X tables follow */

/* pci_dev.c: send what is pending, if it may be sent now; the pin as it should be; a function level reset. */
void vio_pci_unmasked(struct vio_pci_dev *p, unsigned vector);
void vio_pci_intx_again(struct vio_pci_dev *p);
void vio_pci_function_reset(struct vio_pci_dev *p);
/* pci_config.c: the config space as after power on. */
void vio_pci_config_reset(struct vio_pci_dev *p);
#endif
