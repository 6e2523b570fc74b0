// From texts to a program. parse.c has what every text shares, types.c the types of
// tensors, signature.c the lists, call.c call expressions.
#ifndef KNI_LAYER_PARSE_H
#define KNI_LAYER_PARSE_H

#include "layer/lex.h"
#include "layer/program.h"

// One parser for all texts of a layer: what earlier texts bound holds in later ones.
typedef struct kni_parser {
    kn_layer *layer;
    kn_error *err;
    kn_status status; // KN_OK until the first error
    const char *what; // the text: "signature"
    kni_span text;
    size_t at;       // behind `token`
    size_t last_end; // behind the token before it
    kni_token token;
    uint32_t bound;   // symbols that a required tensor binds
    bool batch_bound; // … and "..."
} kni_parser;

bool kni_parser_start(kni_parser *p, const char *what, const char *text);
void kni_parser_advance(kni_parser *p);

// All of these return false, so that a parser can `return kni_expected(…)`.
bool kni_expected(kni_parser *p,
                  const char *what); // … instead of the token: "expected a name, found ')'"
bool kni_wrong(kni_parser *p, size_t at, const char *format, ...) KN_PRINTF(3, 4);
bool kni_parser_no_memory(kni_parser *p);

bool kni_is_sign(const kni_parser *p, char sign);
bool kni_is_name(const kni_parser *p, const char *name); // the token is this very name
bool kni_accept(kni_parser *p, char sign);
bool kni_accept_name(kni_parser *p, const char *name);
bool kni_take(kni_parser *p, char sign); // … or an error
bool kni_take_name(kni_parser *p, const char *what, kni_span *out);
bool kni_take_end(kni_parser *p); // nothing may follow

// A number or a boolean for a parameter of this kind.
bool kni_take_literal(kni_parser *p, kn_param_kind kind, kn_value *out);

// Slot by the name in the signature, in one list; -1: there is none.
int kni_find(const kn_layer *layer, kn_param_list list, kni_span name);
int kni_find_any(const kn_layer *layer, kni_span name); // in any list

// types.c
bool kni_parse_tensor(kni_parser *p, kni_param *param); // "f32|f16 rows[..., d]"
// NAME or self.NAME: a tensor before this one. `required`: not one that may be none.
bool kni_take_reference(kni_parser *p, const kni_param *self, bool required, uint8_t *slot);

// signature.c
bool kni_parse_inputs(kni_parser *p);    // "(x: …, …)"
bool kni_parse_members(kni_parser *p);   // "weight: …, …"
bool kni_parse_results(kni_parser *p);   // "-> (y: …, …)"
bool kni_parse_gradients(kni_parser *p); // "(dy, …) -> (dx, d.weight, …)"

// call.c
bool kni_parse_call(kni_parser *p, bool backward);

#endif
