/* What every device has (virtio 1.4, chapters 2, 3 and 5): device ids and the device status field. */
#ifndef VIO_SPEC_DEVICE_H
#define VIO_SPEC_DEVICE_H

enum {	/* chapter 5 */
	VIO_ID_NET = 1,
	VIO_ID_BLK = 2,
	VIO_ID_CONSOLE = 3,
	VIO_ID_RNG = 4,
	VIO_ID_BALLOON = 5,
	VIO_ID_SCSI = 8,
	VIO_ID_INPUT = 18,
	VIO_ID_VSOCK = 19,
	VIO_ID_FS = 26
};

enum {	/* 2.1 Device Status Field */
	VIO_S_ACKNOWLEDGE = 1,
	VIO_S_DRIVER = 2,
	VIO_S_DRIVER_OK = 4,
	VIO_S_FEATURES_OK = 8,
	VIO_S_SUSPEND = 16,
	VIO_S_NEEDS_RESET = 64,
	VIO_S_FAILED = 128
};
#endif
