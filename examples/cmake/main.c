/* Reads the digits that edgekit put beside the model, and checks each answer. */
#include <stdio.h>
#include <string.h>

#include "digits.h"
#include "digits_golden.h"

int main(void) {
    int wrong = 0;
    for (int i = 0; i < DIGITS_GOLDEN_COUNT; ++i) {
        int8_t scores[DIGITS_OUTPUT_SIZE];
        if (digits_invoke(digits_golden_input[i], scores) != 0) {
            return 2;
        }
        int best = 0;
        for (int k = 1; k < DIGITS_OUTPUT_SIZE; ++k) {
            if (scores[k] > scores[best]) {
                best = k;
            }
        }
        printf("image %d shows a %d\n", i, best);
        wrong += memcmp(scores, digits_golden_output[i], sizeof scores) != 0;
    }
    printf("%d of %d answers differ from the reference\n", wrong, DIGITS_GOLDEN_COUNT);
    return wrong != 0;
}
