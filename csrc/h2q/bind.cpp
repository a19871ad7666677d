#include <pybind11/stl.h>

#include <map>
#include <string>

#include "../array_arguments.h"
#include "../cpu_features.h"
#include "trainer.h"

namespace py = pybind11;

namespace fasthash {

namespace {

template <class T>
py::array_t<T> copied(const std::vector<py::ssize_t>& shape, const T* from) { return py::array_t<T>(shape, from); }

}  // namespace

void register_h2q(py::module_& m) {
    py::class_<H2QTrainer>(m, "H2QTrainer")
        .def(py::init([](const Array<float>& x, const Array<float>& held_out, const Array<float>& v, const std::string& loss,
                         const std::string& optimizer, double rate, bool cosine, bool renormalize, int64_t epochs, int64_t batch_size,
                         int64_t patience, uint64_t seed, const std::string& isa) {
                 static const std::map<std::string, BitLoss> losses = {
                     {"l2", BitLoss::l2}, {"l1", BitLoss::l1}, {"min_entry", BitLoss::min_entry}, {"bit_var", BitLoss::bit_var}};
                 static const std::map<std::string, Optimizer> optimizers = {{"sgd", Optimizer::sgd}, {"adam", Optimizer::adam}};
                 const H2QSettings settings{losses.at(loss), optimizers.at(optimizer), rate, cosine, renormalize, epochs, batch_size, patience, seed};
                 const Isa level = select_isa(isa);
                 return std::make_unique<H2QTrainer>(x.data(), x.shape(0), held_out.data(), held_out.shape(0), x.shape(1), v.data(), v.shape(0),
                                                     settings, h2q_kernel(level), matrix_product_kernel(level).single_precision);
             }),
             py::arg("x").noconvert(), py::arg("held_out").noconvert(), py::arg("v").noconvert(), py::arg("loss"), py::arg("optimizer"),
             py::arg("rate"), py::arg("cosine"), py::arg("renormalize"), py::arg("epochs"), py::arg("batch_size"), py::arg("patience"),
             py::arg("seed"), py::arg("isa") = "", py::keep_alive<1, 2>(), py::keep_alive<1, 3>())
        .def("train",
             [](H2QTrainer& trainer, int64_t epochs, int threads) {
                 run_interruptible([&](const std::function<bool()>& interrupted) { trainer.train(epochs, thread_count(threads), interrupted); });
             },
             py::arg("epochs"), py::arg("threads") = 0)
        .def_property_readonly("finished", &H2QTrainer::finished)
        .def("history",
             [](const H2QTrainer& trainer, int64_t run) {
                 const std::vector<H2QEpoch>& history = trainer.history(run);
                 return copied<double>({static_cast<py::ssize_t>(history.size()), 3}, reinterpret_cast<const double*>(history.data()));
             },
             py::arg("run"))
        .def("best", [](const H2QTrainer& trainer, int64_t run) { return copied<float>({trainer.k(), trainer.k()}, trainer.best(run)); }, py::arg("run"));
}

}  // namespace fasthash
