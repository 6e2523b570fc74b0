// The words of the language.
#ifndef KNI_LAYER_LEX_H
#define KNI_LAYER_LEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

typedef enum kni_token_kind {
    KNI_TOKEN_END,
    KNI_TOKEN_NAME,
    KNI_TOKEN_INTEGER,  // digits
    KNI_TOKEN_FLOAT,    // digits with a fraction or an exponent
    KNI_TOKEN_ARROW,    // ->
    KNI_TOKEN_EQUAL,    // ==
    KNI_TOKEN_ELLIPSIS, // ...
    KNI_TOKEN_SIGN,     // one of ( ) [ ] , : ? = | * + - .
    KNI_TOKEN_BAD,      // anything else
} kni_token_kind;

typedef struct kni_token {
    kni_token_kind kind;
    char sign; // KNI_TOKEN_SIGN, else 0
    kni_span text;
    size_t at;        // offset in the text
    bool in_range;    // `integer` holds
    uint64_t integer; // KNI_TOKEN_INTEGER
    double number;    // both kinds of numbers; infinite: beyond a double, or 64 digits and more
} kni_token;

// The token at *at, which moves behind it.
kni_token kni_lex(kni_span text, size_t *at);

#endif
