/* Runs the model on each sample of the file "samples", and writes what it answers to standard
 * output. The end of the host's pipe ends this program, so that nothing runs on unseen. */
#include "model.h"

#include <stdio.h>

int main(void)
{
    FILE *const samples = fopen("samples", "rb");

    if (samples == NULL) {
        return 2;
    }
    while (fread(input, sizeof input, 1, samples) == 1) {
        if (CALL(MODEL) != 0) {
            return 3;
        }
        if ((fwrite(output, sizeof output, 1, stdout) != 1) || (fflush(stdout) != 0)) {
            return 4;
        }
    }
    return 0;
}
