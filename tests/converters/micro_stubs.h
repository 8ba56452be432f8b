/* As much of TensorFlow Lite Micro as a generated test program names, to compile it without. */
#ifndef MICRO_STUBS_H
#define MICRO_STUBS_H
enum TfLiteStatus { kTfLiteOk, kTfLiteError };
struct TfLiteTensor {
    union {
        void *raw;
    } data;
};
namespace tflite {
struct Model;
const Model *GetModel(const void *bytes);
template <unsigned int count>
class MicroMutableOpResolver {
  public:
    TfLiteStatus AddAdd();
    TfLiteStatus AddAveragePool2D();
    TfLiteStatus AddConv2D();
    TfLiteStatus AddDepthwiseConv2D();
    TfLiteStatus AddFullyConnected();
    TfLiteStatus AddReshape();
    TfLiteStatus AddSoftmax();
};
class MicroInterpreter {
  public:
    template <typename Resolver>
    MicroInterpreter(const Model *model, const Resolver &resolver, unsigned char *arena,
                     unsigned long size);
    TfLiteStatus AllocateTensors();
    TfLiteStatus Invoke();
    TfLiteTensor *input(int index);
    TfLiteTensor *output(int index);
    unsigned long arena_used_bytes() const;
};
} // namespace tflite
#endif
