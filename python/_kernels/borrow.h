// Tensors of any framework, borrowed for one call of a function.
#ifndef KPY_BORROW_H
#define KPY_BORROW_H

#include "exchange.h"

typedef struct kpy_borrowed {
    DLTensor tensor;
    const DLPackExchangeAPI *api;        // of the object's type; NULL: it came through __dlpack__
    DLManagedTensor *managed;            // what __dlpack__ gave, one of these
    DLManagedTensorVersioned *versioned; //
    int64_t *strides;                    // ours, where the producer gave none
} kpy_borrowed;

// Begin with zeros. 1; 0: the object is no tensor; -1 with an exception. Release it when it gave 1.
int kpy_borrow(PyObject *object, kpy_borrowed *out);
// Where its memory is, of an object that gave 1: once all were borrowed, since objects run Python meanwhile, which may move the memory of
// others. 0, or -1 with an exception.
int kpy_borrowed_read(PyObject *object, kpy_borrowed *out);
// Zeros are fine.
void kpy_borrowed_release(kpy_borrowed *borrowed);
size_t kpy_borrowed_bytes(const kpy_borrowed *borrowed); // 0 for zeros

#endif
