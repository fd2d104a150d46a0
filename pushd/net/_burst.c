/* Sending one block of bytes to many sockets, without a way through the interpreter for each.
 *
 * pushd works without it: see burst.py, which has the same in Python and says what it gains.
 */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* Send `size` bytes to each of `count` sockets; put into `taken` how many each took, 0 where it took none. */
static Py_ssize_t
send_all(const int *sockets, Py_ssize_t *taken, Py_ssize_t count, const char *data, Py_ssize_t size)
{
    Py_ssize_t shorter = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        ssize_t sent;
        do {
            sent = send(sockets[i], data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
        } while (sent < 0 && errno == EINTR);
        taken[i] = sent < 0 ? 0 : sent;
        shorter += taken[i] != size;
    }
    return shorter;
}

static PyObject *
list_shorter(const Py_ssize_t *taken, Py_ssize_t count, Py_ssize_t size)
{
    PyObject *shorter = PyList_New(0);
    for (Py_ssize_t i = 0; shorter != NULL && i < count; i++) {
        if (taken[i] == size)
            continue;
        PyObject *pair = Py_BuildValue("(nn)", i, taken[i]);
        if (pair == NULL || PyList_Append(shorter, pair) < 0)
            Py_CLEAR(shorter);
        Py_XDECREF(pair);
    }
    return shorter;
}

static PyObject *
send_each(PyObject *module, PyObject *args)
{
    PyObject *descriptors, *block, *result = NULL;
    char *data;
    Py_ssize_t size;

    if (!PyArg_ParseTuple(args, "O!S:send_each", &PyList_Type, &descriptors, &block)
        || PyBytes_AsStringAndSize(block, &data, &size) < 0)
        return NULL;

    Py_ssize_t count = PyList_Size(descriptors);
    int *sockets = malloc((size_t)(count ? count : 1) * sizeof *sockets);
    Py_ssize_t *taken = malloc((size_t)(count ? count : 1) * sizeof *taken);
    if (sockets == NULL || taken == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *descriptor = PyList_GetItem(descriptors, i); /* borrowed */
        sockets[i] = descriptor == NULL ? -1 : (int)PyLong_AsLong(descriptor);
        if (PyErr_Occurred())
            goto done;
    }

    /* The block is held by `args`; the sockets are closed by this thread alone, which is here. */
    Py_ssize_t shorter;
    Py_BEGIN_ALLOW_THREADS
    shorter = send_all(sockets, taken, count, data, size);
    Py_END_ALLOW_THREADS
    result = list_shorter(taken, shorter ? count : 0, size);
done:
    free(sockets);
    free(taken);
    return result;
}

static PyMethodDef methods[] = {
    {"send_each", send_each, METH_VARARGS,
     "send_each(descriptors: list[int], block: bytes) -> list[tuple[int, int]]\n\n"
     "Send a block to each socket; give the place of each that did not take it whole, and how many bytes it took."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_burst", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit__burst(void)
{
    return PyModule_Create(&module);
}
