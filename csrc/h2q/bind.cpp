#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <string>

#include "../bindings/array_arguments.h"
#include "../cpu_features.h"
#include "trainer.h"

namespace py = pybind11;

namespace fasthash::h2q_bindings {

namespace {

std::unique_ptr<H2QTrainer> make_trainer(const Array<float>& x, const Array<float>& held_out, const Array<float>& v,
                                         const std::string& loss, const std::string& optimizer, double rate, bool cosine, bool renormalize,
                                         int64_t epochs, int64_t batch_size, int64_t patience, uint64_t seed, const std::string& isa) {
    static const std::map<std::string, BitLoss> losses = {
        {"l2", BitLoss::l2}, {"l1", BitLoss::l1}, {"min_entry", BitLoss::min_entry}, {"bit_var", BitLoss::bit_var}};
    static const std::map<std::string, Optimizer> optimizers = {{"sgd", Optimizer::sgd}, {"adam", Optimizer::adam}};
    const int64_t n = x.shape(0), n_held_out = held_out.shape(0), runs = v.shape(0), k = x.shape(1);
    check_shape("H2QTrainer", "held_out", held_out, {n_held_out, k});
    check_shape("H2QTrainer", "v", v, {runs, k, k});
    const H2QSettings settings{losses.at(loss), optimizers.at(optimizer), rate, cosine, renormalize, epochs, batch_size, patience, seed};
    const Isa level = select_isa(isa);
    return std::make_unique<H2QTrainer>(x.data(), n, held_out.data(), n_held_out, k, v.data(), runs, settings, h2q_kernel(level),
                                        matrix_product_kernel(level).of<float>());
}

void train(H2QTrainer& trainer, int64_t epochs, int threads) {
    const int n_threads = thread_count(threads);
    run_interruptible([&](const std::function<bool()>& interrupted) { trainer.train(epochs, n_threads, interrupted); });
}

// [epochs, 3], in the order of H2QEpoch.
py::array_t<double> history(const H2QTrainer& trainer, int64_t run) {
    const std::vector<H2QEpoch>& epochs = trainer.history(run);
    static_assert(sizeof(H2QEpoch) == 3 * sizeof(double));
    return py::array_t<double>({static_cast<py::ssize_t>(epochs.size()), py::ssize_t{3}}, reinterpret_cast<const double*>(epochs.data()));
}

py::array_t<float> best(const H2QTrainer& trainer, int64_t run) {
    return py::array_t<float>({trainer.k(), trainer.k()}, trainer.best(run));
}

}  // namespace

void add_to(py::module_& m) {
    py::class_<H2QTrainer>(m, "H2QTrainer")
        .def(py::init(&make_trainer), exact("x"), exact("held_out"), exact("v"), py::arg("loss"), py::arg("optimizer"), py::arg("rate"),
             py::arg("cosine"), py::arg("renormalize"), py::arg("epochs"), py::arg("batch_size"), py::arg("patience"), py::arg("seed"),
             py::arg("isa") = "", py::keep_alive<1, 2>(), py::keep_alive<1, 3>())
        .def("train", &train, py::arg("epochs"), py::arg("threads") = 0)
        .def_property_readonly("finished", &H2QTrainer::finished)
        .def("history", &history, py::arg("run"))
        .def("best", &best, py::arg("run"));
}

}  // namespace fasthash::h2q_bindings
