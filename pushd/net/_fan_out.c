/* Fan-out of one block of bytes to many sockets, without entering the interpreter for each socket.
 *
 * Optional: burst.py falls back to the same loop in Python.
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

/* Send `size` bytes to each of `count` sockets. Store in `written` the bytes that each accepted, 0 after an error.
 * Return the number of sockets that did not accept all bytes.
 */
static Py_ssize_t
send_all(const int *sockets, Py_ssize_t *written, Py_ssize_t count, const char *data, Py_ssize_t size)
{
    Py_ssize_t partial = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        ssize_t sent;
        do {
            sent = send(sockets[i], data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
        } while (sent < 0 && errno == EINTR);
        written[i] = sent < 0 ? 0 : sent;
        partial += written[i] != size;
    }
    return partial;
}

/* Return a list of (index, bytes accepted), for the sockets that did not accept all bytes. */
static PyObject *
list_partial(const Py_ssize_t *written, Py_ssize_t count, Py_ssize_t size)
{
    PyObject *partial = PyList_New(0);
    for (Py_ssize_t i = 0; partial != NULL && i < count; i++) {
        if (written[i] == size)
            continue;
        PyObject *pair = Py_BuildValue("(nn)", i, written[i]);
        if (pair == NULL || PyList_Append(partial, pair) < 0)
            Py_CLEAR(partial);
        Py_XDECREF(pair);
    }
    return partial;
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
    Py_ssize_t *written = malloc((size_t)(count ? count : 1) * sizeof *written);
    if (sockets == NULL || written == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *descriptor = PyList_GetItem(descriptors, i); /* borrowed */
        sockets[i] = descriptor == NULL ? -1 : (int)PyLong_AsLong(descriptor);
        if (PyErr_Occurred())
            goto done;
    }

    /* `args` keeps the block alive. Only this thread closes sockets, so none is closed meanwhile. */
    Py_ssize_t partial;
    Py_BEGIN_ALLOW_THREADS
    partial = send_all(sockets, written, count, data, size);
    Py_END_ALLOW_THREADS
    result = list_partial(written, partial ? count : 0, size);
done:
    free(sockets);
    free(written);
    return result;
}

static PyMethodDef methods[] = {
    {"send_each", send_each, METH_VARARGS,
     "send_each(descriptors: list[int], block: bytes) -> list[tuple[int, int]]\n\n"
     "Send a block to each socket. Return (index, bytes accepted) for each socket that did not accept all of it."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_fan_out", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit__fan_out(void)
{
    return PyModule_Create(&module);
}
