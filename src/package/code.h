// How much of the device code in a file a device can run. A library has one fat binary a source file, each of which holds the
// same kernels for several devices.
#ifndef KNI_PACKAGE_CODE_H
#define KNI_PACKAGE_CODE_H

typedef enum kni_code_fit {
    KNI_CODE_NONE,    // there is no device code
    KNI_CODE_NO,      // no fat binary has code that the device runs
    KNI_CODE_PARTLY,  // some have: kernels of the other source files are missing on this device
    KNI_CODE_FITS,    // each fat binary has
    KNI_CODE_UNKNOWN, // compressed beyond reading, and nothing readable fits
} kni_code_fit;

#endif
