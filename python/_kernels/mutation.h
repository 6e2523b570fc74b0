// Faults on purpose: python/tests/test_mutations.py builds the extension once with each, and sees tests turn red. Other builds have none.
#ifndef KPY_MUTATION_H
#define KPY_MUTATION_H

enum {
    KPY_MUTATION_NEG_BIT = 1, // the memory of negated views is read as it is
    KPY_MUTATION_STREAM,      // kernels run on the default stream, whichever is current
    KPY_MUTATION_ZERO_FILL,   // gradients that nobody made have whatever was in memory
    KPY_MUTATION_EPS,         // numbers are read wrongly
};

#ifndef KPY_MUTATION
#define KPY_MUTATION 0
#endif
#define KPY_MUTATES(mutation) (KPY_MUTATION == KPY_MUTATION_##mutation)

#endif
