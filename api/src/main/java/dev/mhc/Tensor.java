// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.NativeMemory;
import dev.mhc.bindings.generated.mhc_dtype;
import dev.mhc.bindings.generated.mhc_tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/**
 * A dense array of up to {@value #MAX_RANK} dimensions in native memory, of the host or of a GPU: its own, memory that the
 * caller wraps, or a view of another tensor.
 *
 * <p>Strides count elements. Operations honour strides; the last dimension has to be contiguous unless an operation says
 * otherwise. Reading and writing elements from Java works with any strides and converts: what is written is rounded
 * once, to nearest even.
 *
 * <p>A tensor may be used by any thread; two threads that write it, or write and read it, have to agree on an order.
 * Closing one that an operation is using waits for the operation. After close its memory is gone, and using the tensor,
 * a view of it, or its segment is an {@link IllegalStateException}.
 *
 * {@snippet file="dev/mhc/examples/FirstLayer.java" region="wrap"}
 */
public final class Tensor implements AutoCloseable {
  /** The most dimensions a tensor can have. */
  public static final int MAX_RANK = 8;

  final int type;
  final long[] shape;
  final long[] strides;
  final boolean innerContiguous;
  final boolean writable;
  final long descriptorAddress;

  private final Storage storage;
  private final @Nullable Tensor base; // a view keeps what it is of
  private final DType dtype;
  private final MemorySegment segment;
  private final MemorySegment descriptor;
  private final boolean compact;
  final boolean isBorrowed;
  private volatile boolean closed;

  private Tensor(Storage storage, @Nullable Tensor base, DType dtype, MemorySegment segment, long[] shape,
      long[] strides) {
    this.storage = storage;
    this.base = base;
    this.dtype = dtype;
    this.type = Types.of(dtype);
    this.segment = segment;
    this.shape = shape;
    this.strides = strides;
    int rank = shape.length;
    innerContiguous = rank == 0 || shape[rank - 1] <= 1 || strides[rank - 1] == 1;
    boolean broadcast = false;
    for (int i = 0; i < rank; i++) {
      broadcast |= strides[i] == 0 && shape[i] > 1;
    }
    writable = !segment.isReadOnly() && !broadcast;
    compact = isCompact(shape, strides);
    isBorrowed = storage.isBorrowed();

    // In an automatic arena: what an operation is given has to be there as long as this object, not as the memory.
    long bytes = mhc_tensor.layout().byteSize();
    descriptor = Arena.ofAuto().allocate(bytes + 16L * rank, 8);
    mhc_tensor.data(descriptor, MemorySegment.ofAddress(segment.address()));
    MemorySegment device = mhc_tensor.device(descriptor);
    dev.mhc.bindings.generated.mhc_device.device_type(device, storage.device.type().code);
    dev.mhc.bindings.generated.mhc_device.device_id(device, storage.device.index());
    mhc_tensor.ndim(descriptor, rank);
    MemorySegment element = mhc_tensor.dtype(descriptor);
    mhc_dtype.code(element, (byte) dtype.code);
    mhc_dtype.bits(element, (byte) dtype.bits);
    mhc_dtype.lanes(element, (short) 1);
    mhc_tensor.shape(descriptor, descriptor.asSlice(bytes));
    mhc_tensor.strides(descriptor, descriptor.asSlice(bytes + 8L * rank));
    for (int i = 0; i < rank; i++) {
      descriptor.set(ValueLayout.JAVA_LONG, bytes + 8L * i, shape[i]);
      descriptor.set(ValueLayout.JAVA_LONG, bytes + 8L * (rank + i), strides[i]);
    }
    descriptorAddress = descriptor.address();
  }

  // ------------------------------------------------------------------------------------------------ making

  /** A tensor in memory of its own. watched: someone else reports the leak otherwise. */
  static Tensor allocate(Device device, DType dtype, long[] shape, boolean watched) {
    Tensor tensor = allocated(dtype, shape, bytes -> Storage.allocate(device, bytes));
    if (watched) {
      tensor.watch();
    }
    return tensor;
  }

  /** A tensor in memory that someone else provides for so many bytes. */
  static Tensor allocate(Device device, DType dtype, long[] shape, LongFunction<Storage.Memory> memory) {
    Tensor tensor = allocated(dtype, shape, bytes -> {
      TensorAllocateEvent.commit(device, bytes);
      return Storage.of(device, memory.apply(bytes));
    });
    tensor.watch();
    return tensor;
  }

  /** A tensor with strides of which one is 1 and the other steps over whole rows or columns, in memory that ends with one. */
  static Tensor allocate(Device device, DType dtype, long[] shape, long[] strides) {
    Check.given("device", device, "a Device");
    long elements = Math.max(Math.multiplyExact(shape[0], strides[0]), Math.multiplyExact(shape[1], strides[1]));
    Storage storage = Storage.allocate(device, Math.multiplyExact(elements, (long) dtype.bytes()));
    var tensor = new Tensor(storage, null, dtype, storage.data.asSlice(0, span(dtype, shape, strides)), shape, strides);
    tensor.watch();
    return tensor;
  }

  private static Tensor allocated(DType dtype, long[] shape, LongFunction<Storage> memory) {
    Check.given("type", dtype, "a DType");
    long[] dims = checkedShape(shape);
    Storage storage = memory.apply(Math.multiplyExact(count(dims), (long) dtype.bytes()));
    return new Tensor(storage, null, dtype, storage.data, dims, compactStrides(dims));
  }

  /**
   * A tensor on memory of the caller, compact and row-major. Nothing is copied. The memory has to stay while the tensor
   * is used: an arena that ends before is noticed before an operation starts, not while one runs. Closing the tensor
   * leaves the memory alone. A read-only segment makes a tensor that operations read.
   *
   * @param device where it will be used
   * @param type of the elements
   * @param data native memory, aligned to an element, that may be larger than needed; for a GPU memory that it can use, a
   *     segment of size 0 being a pointer to as much as is needed
   * @param shape dimensions, each at least 0
   * @throws IllegalArgumentException if data is on the Java heap, too small or not aligned
   */
  public static Tensor wrap(Device device, DType type, MemorySegment data, long... shape) {
    long[] dims = checkedShape(shape);
    return wrapChecked(device, type, data, dims, compactStrides(dims));
  }

  /**
   * A strided tensor on memory of the caller, otherwise as {@link #wrap(Device, DType, MemorySegment, long...)}.
   *
   * @param device where it will be used
   * @param type of the elements
   * @param data native memory that starts with element [0, 0, ...]
   * @param shape dimensions, each at least 0
   * @param strides elements from one index of a dimension to the next, each at least 0; one that is 0 where the
   *     dimension is larger than 1 makes a tensor that operations read
   */
  public static Tensor wrap(Device device, DType type, MemorySegment data, long[] shape, long[] strides) {
    long[] dims = checkedShape(shape);
    Check.given("strides", strides, "one for each dimension");
    if (strides.length != dims.length) {
      throw new IllegalArgumentException("strides is " + Arrays.toString(strides) + "; expected " + dims.length
          + " of them, for shape " + Arrays.toString(dims));
    }
    for (long stride : strides) {
      if (stride < 0) {
        throw new IllegalArgumentException("strides is " + Arrays.toString(strides) + "; expected none below 0");
      }
    }
    return wrapChecked(device, type, data, dims, strides.clone());
  }

  private static Tensor wrapChecked(Device device, DType type, MemorySegment data, long[] shape, long[] strides) {
    Check.given("device", device, "a Device");
    Check.given("type", type, "a DType");
    MemorySegment memory = Check.given("data", data, "native memory");
    if (!device.isHost() && memory.isNative() && memory.byteSize() == 0) { // a pointer: how much is there, its owner knows
      memory = NativeMemory.at(memory.address(), span(type, shape, strides));
    }
    checkMemory(memory, type, shape, strides);
    return new Tensor(Storage.borrow(device, memory), null, type, memory.asSlice(0, span(type, shape, strides)), shape,
        strides);
  }

  /** A tensor whose memory is given back by an action when it is closed. */
  static Tensor imported(Device device, DType type, MemorySegment data, long[] shape, long[] strides,
      Runnable release) {
    checkMemory(data, type, shape, strides);
    var tensor = new Tensor(Storage.imported(device, data, release), null, type, data, shape, strides);
    tensor.watch();
    return tensor;
  }

  private static void checkMemory(MemorySegment data, DType type, long[] shape, long[] strides) {
    if (!data.isNative()) {
      throw new IllegalArgumentException("data is " + data + ", on the Java heap; expected native memory, from an"
          + " Arena or mapped: or copy, with Device.tensor and copyFrom");
    }
    long needed = span(type, shape, strides);
    if (data.byteSize() < needed) {
      throw new IllegalArgumentException("data has " + data.byteSize() + " bytes; expected at least " + needed
          + ", for shape " + Arrays.toString(shape) + " with strides " + Arrays.toString(strides) + " of " + type);
    }
    if (data.address() % type.bytes() != 0) {
      throw new IllegalArgumentException("data is at address " + Long.toHexString(data.address())
          + " (hexadecimal); expected a multiple of " + type.bytes() + ", the size of a " + type);
    }
  }

  /**
   * The part of this tensor with indices {@code from} up to, not including, {@code to} in one dimension. A view: it
   * shares the memory, and ends with this tensor.
   *
   * @param dimension 0 to rank - 1
   * @param from first index, at least 0
   * @param to behind the last index, at least from, at most what the dimension has
   */
  public Tensor slice(int dimension, long from, long to) {
    requireOpen("tensor");
    Check.range("dimension", dimension, 0, rank() - 1L);
    Check.range("from", from, 0, shape[dimension]);
    Check.range("to", to, from, shape[dimension]);
    long[] dims = shape.clone();
    dims[dimension] = to - from;
    long start = count(dims) == 0 ? 0 : from * strides[dimension] * dtype.bytes();
    return new Tensor(storage, this, dtype, segment.asSlice(start, span(dtype, dims, strides)), dims, strides);
  }

  /**
   * The same elements in row-major order under another shape. A view, as {@link #slice}.
   *
   * @throws IllegalArgumentException if this tensor is not compact or the number of elements differs
   */
  public Tensor reshape(long... newShape) {
    requireOpen("tensor");
    long[] dims = checkedShape(newShape);
    if (!compact) {
      throw new IllegalArgumentException("tensor is " + this + ", not compact; expected row-major elements without gaps");
    }
    if (count(dims) != elements()) {
      throw new IllegalArgumentException("shape is " + Arrays.toString(dims) + "; expected " + elements()
          + " elements, as " + Arrays.toString(shape) + " has");
    }
    return new Tensor(storage, this, dtype, segment, dims, compactStrides(dims));
  }

  /** A compact view of a part of this tensor's memory; for buffers that hold several things. */
  Tensor part(long byteOffset, DType type, long... dims) {
    return new Tensor(storage, this, type, segment.asSlice(byteOffset, count(dims) * type.bytes()), dims,
        compactStrides(dims));
  }

  /**
   * Imports a DLPack tensor: takes over the {@code DLManagedTensor} that a producer made, without copying. Its deleter
   * runs when the tensor is closed. One that is refused stays the caller's.
   *
   * @param device where it will be used; the memory has to be of that device
   * @param managed pointer to the struct; a zero-length segment will do
   * @throws IllegalArgumentException for element types and strides that this library does not have
   */
  public static Tensor fromDLPack(Device device, MemorySegment managed) {
    return DLPack.importTensor(device, managed, DLPack.UNVERSIONED);
  }

  /**
   * Imports a {@code DLManagedTensorVersioned}, of DLPack 1.x, otherwise as {@link #fromDLPack}. Its read-only flag is
   * honoured.
   */
  public static Tensor fromDLPackVersioned(Device device, MemorySegment managed) {
    return DLPack.importTensor(device, managed, DLPack.VERSIONED);
  }

  /**
   * Exports this tensor as a {@code DLManagedTensor}, without copying. Who takes it calls its deleter when done. The
   * memory stays until then, even if this tensor is closed before; memory that this tensor wraps is the caller's to
   * keep.
   *
   * @return the struct; it is freed by its deleter
   */
  public MemorySegment toDLPack() {
    return DLPack.exportTensor(this, DLPack.UNVERSIONED);
  }

  /** Exports this tensor as a {@code DLManagedTensorVersioned} of DLPack 1.0, otherwise as {@link #toDLPack}. */
  public MemorySegment toDLPackVersioned() {
    return DLPack.exportTensor(this, DLPack.VERSIONED);
  }

  // ------------------------------------------------------------------------------------------------ describing

  /** The device it belongs to. */
  public Device device() {
    return storage.device;
  }

  /** Type of its elements. */
  public DType dtype() {
    return dtype;
  }

  /** Number of dimensions. */
  public int rank() {
    return shape.length;
  }

  /** Its dimensions, as a copy. */
  public long[] shape() {
    return shape.clone();
  }

  /** One dimension. */
  public long dim(int index) {
    Check.range("index", index, 0, rank() - 1L);
    return shape[index];
  }

  /** Elements from one index of each dimension to the next, as a copy. */
  public long[] strides() {
    return strides.clone();
  }

  /** Number of elements. */
  public long elements() {
    return count(shape);
  }

  /** Whether the elements lie row-major and without gaps. */
  public boolean isCompact() {
    return compact;
  }

  /** Whether operations may write it. */
  public boolean isWritable() {
    return writable;
  }

  /**
   * The memory, from the first element to behind the last, without a copy. On a GPU a pointer, of size 0: Java cannot read
   * that memory.
   *
   * @throws IllegalStateException if this tensor is closed
   */
  public MemorySegment segment() {
    requireOpen("tensor");
    return storage.device.isHost() ? segment : MemorySegment.ofAddress(segment.address());
  }

  /** The memory with its size, of whatever device. */
  MemorySegment memory() {
    requireOpen("tensor");
    return segment;
  }

  // ------------------------------------------------------------------------------------------------ elements

  /** Reads one element, exactly. */
  public double get(long... index) {
    requireOpen("tensor");
    try (HostView element = HostView.reading(storage.device, segment.asSlice(byteOffset(index), dtype.bytes()))) {
      return Elements.get(dtype, element.data, 0);
    }
  }

  /** Writes one element, rounded to nearest even. */
  public void set(double value, long... index) {
    requireWritable();
    checkValue(value);
    try (HostView element = HostView.writing(storage.device, segment.asSlice(byteOffset(index), dtype.bytes()), false)) {
      Elements.set(dtype, element.data, 0, value);
    }
  }

  /** Writes every element, rounded to nearest even. */
  public Tensor fill(double value) {
    requireWritable();
    checkValue(value);
    long n = elements();
    try (HostView view = writing()) {
      for (long i = 0; i < n; i++) {
        Elements.set(dtype, view.data, byteOffset(i), value);
      }
    }
    return this;
  }

  /**
   * Writes every element in row-major order, rounded to nearest even.
   *
   * @param values as many as there are elements
   */
  public Tensor copyFrom(float... values) {
    requireWritable();
    requireLength(Check.given("values", values, "an array").length);
    CopyEvent event = CopyEvent.start();
    checkAll(values.length, i -> values[i]);
    try (HostView view = writing()) {
      if (dtype == DType.FP32 && compact) {
        MemorySegment.copy(values, 0, view.data, ValueLayout.JAVA_FLOAT_UNALIGNED, 0, values.length);
      } else {
        for (int i = 0; i < values.length; i++) {
          Elements.set(dtype, view.data, byteOffset(i), values[i]);
        }
      }
    }
    event.finish(true, (long) values.length * dtype.bytes());
    return this;
  }

  /** Writes every element in row-major order, rounded once to nearest even. */
  public Tensor copyFrom(double... values) {
    requireWritable();
    requireLength(Check.given("values", values, "an array").length);
    CopyEvent event = CopyEvent.start();
    checkAll(values.length, i -> values[i]);
    try (HostView view = writing()) {
      for (int i = 0; i < values.length; i++) {
        Elements.set(dtype, view.data, byteOffset(i), values[i]);
      }
    }
    event.finish(true, (long) values.length * dtype.bytes());
    return this;
  }

  /**
   * Writes every element from a tensor of the same shape and any type, of any device, rounded to nearest even. Between
   * tensors of GPUs that need no conversion, the copy is in the current stream of the one that is written, like an operation,
   * and in the order of the current stream of the other; else it is done when this returns.
   */
  public Tensor copyFrom(Tensor source) {
    requireSameShape(source);
    CopyEvent event = CopyEvent.start();
    if (copiesBytes(source) && !(storage.device.isHost() && source.storage.device.isHost())) {
      Copies.between(source, this, !storage.device.isHost() && !source.storage.device.isHost());
    } else if (copiesBytes(source)) {
      MemorySegment.copy(source.segment, 0, segment, 0, segment.byteSize());
    } else {
      convertFrom(source);
    }
    event.finish(true, elements() * dtype.bytes());
    return this;
  }

  /**
   * As {@link #copyFrom(Tensor)}, between compact tensors of the same shape and type: in the current stream of the GPU that
   * has one of them, without waiting. Host memory that takes part must stay, unchanged if it is read, until the stream has
   * come past the copy ({@link Event}, {@link Stream#synchronize}); only with memory from {@link CudaDevice#pinned} does the
   * host go on meanwhile. Between two tensors of CPUs it is done when this returns.
   */
  public Tensor copyFromAsync(Tensor source) {
    requireSameShape(source);
    if (!copiesBytes(source)) {
      throw new IllegalArgumentException("source is " + source + "; expected a compact tensor of " + dtype
          + " elements, as this is to be: " + this);
    }
    CopyEvent event = CopyEvent.start();
    if (storage.device.isHost() && source.storage.device.isHost()) {
      MemorySegment.copy(source.segment, 0, segment, 0, segment.byteSize());
    } else {
      Copies.between(source, this, true);
    }
    event.finish(true, elements() * dtype.bytes());
    return this;
  }

  private void requireSameShape(Tensor source) {
    requireWritable();
    Check.given("source", source, "a tensor").requireOpen("source");
    if (!Arrays.equals(shape, source.shape)) {
      throw new IllegalArgumentException("source is " + source + "; expected shape " + Arrays.toString(shape));
    }
  }

  private boolean copiesBytes(Tensor source) {
    return dtype == source.dtype && compact && source.compact;
  }

  private void convertFrom(Tensor source) {
    long n = elements();
    try (HostView from = HostView.reading(source.storage.device, source.segment)) {
      for (long i = 0; i < n; i++) {
        checkValue(Elements.get(source.dtype, from.data, source.byteOffset(i)));
      }
      try (HostView to = writing()) {
        for (long i = 0; i < n; i++) {
          Elements.set(dtype, to.data, byteOffset(i), Elements.get(source.dtype, from.data, source.byteOffset(i)));
        }
      }
    }
  }

  private HostView writing() {
    return HostView.writing(storage.device, segment, !compact);
  }

  /** Every element in row-major order, rounded to float where the type is wider: only {@link DType#INT32} is. */
  public float[] toFloats() {
    requireOpen("tensor");
    var values = new float[requireArray()];
    CopyEvent event = CopyEvent.start();
    try (HostView view = HostView.reading(storage.device, segment)) {
      if (dtype == DType.FP32 && compact) {
        MemorySegment.copy(view.data, ValueLayout.JAVA_FLOAT_UNALIGNED, 0, values, 0, values.length);
      } else {
        for (int i = 0; i < values.length; i++) {
          values[i] = (float) Elements.get(dtype, view.data, byteOffset(i));
        }
      }
    }
    event.finish(false, elements() * dtype.bytes());
    return values;
  }

  /** Every element in row-major order, exactly. */
  public double[] toDoubles() {
    requireOpen("tensor");
    var values = new double[requireArray()];
    CopyEvent event = CopyEvent.start();
    try (HostView view = HostView.reading(storage.device, segment)) {
      for (int i = 0; i < values.length; i++) {
        values[i] = Elements.get(dtype, view.data, byteOffset(i));
      }
    }
    event.finish(false, elements() * dtype.bytes());
    return values;
  }

  // ------------------------------------------------------------------------------------------------ lifetime

  /** Whether this tensor can no longer be used: it, what it is a view of, or its device was closed. */
  public boolean isClosed() {
    return closed || storage.closed || (base != null && base.isClosed());
  }

  /**
   * Ends this tensor. Its own memory is freed, unless an importer holds it; a view or a wrapped segment's memory stays.
   * Does nothing when closed.
   */
  @Override
  public void close() {
    if (base == null) {
      storage.close();
    }
    try (var _ = storage.device.held()) { // not while an operation uses it
      closed = true;
      storage.device.closings++;
    }
  }

  @Override
  public String toString() {
    return Arrays.toString(shape) + " " + dtype + (isCompact() ? "" : " strides " + Arrays.toString(strides))
        + (isClosed() ? " (closed)" : "");
  }

  Storage storage() {
    return storage;
  }

  /** Whether any byte belongs to both. */
  boolean overlaps(Tensor other) {
    long start = segment.address();
    long otherStart = other.segment.address();
    return segment.byteSize() > 0 && other.segment.byteSize() > 0 && start < otherStart + other.segment.byteSize()
        && otherStart < start + segment.byteSize();
  }

  /** The native descriptor, valid as long as this object. */
  MemorySegment descriptor() {
    return descriptor;
  }

  /** Throws unless an operation of the device may use this tensor now, in this thread. Call with the lock held. */
  void requireUsable(String name, Device device) {
    if (closed | storage.closed | base != null | isBorrowed | storage.device != device) { // few are; kept small to inline
      requireUsableView(name, device);
    }
  }

  private void requireUsableView(String name, Device device) {
    requireOpen(name);
    if (storage.device != device) {
      throw new IllegalArgumentException(name + " belongs to another device, " + storage.device
          + "; expected a tensor of this operation's device, " + device);
    }
  }

  private void requireOpen(String name) {
    if (isClosed()) {
      throw new IllegalStateException(name + " is closed: " + this);
    }
    if (isBorrowed) {
      requireReachable(name);
    }
  }

  private void requireReachable(String name) {
    if (!segment.scope().isAlive()) {
      throw new IllegalStateException(name + " wraps memory whose arena is closed: " + this);
    }
    if (!segment.isAccessibleBy(Thread.currentThread())) {
      throw new IllegalArgumentException(name + " wraps memory that is confined to another thread; expected memory that "
          + Thread.currentThread() + " may access");
    }
  }

  private void watch() {
    Storage watched = storage;
    Leaks.watch(this, "tensor " + this, () -> watched.closed);
  }

  // ------------------------------------------------------------------------------------------------ checks, offsets

  private void requireWritable() {
    requireOpen("tensor");
    if (!writable) {
      throw new IllegalArgumentException("tensor " + this + " is read-only; expected one that can be written");
    }
  }

  private void requireLength(int length) {
    if (length != elements()) {
      throw new IllegalArgumentException("values has " + length + " elements; expected " + elements() + ", for "
          + Arrays.toString(shape));
    }
  }

  private int requireArray() {
    if (elements() > Integer.MAX_VALUE - 8) {
      throw new IllegalArgumentException("tensor is " + this + "; expected no more elements than an array can have");
    }
    return (int) elements();
  }

  private interface DoubleAt {
    double at(int index);
  }

  private void checkAll(int count, DoubleAt values) {
    if (dtype == DType.INT32 || dtype == DType.E8M0) {
      for (int i = 0; i < count; i++) {
        checkValue(values.at(i));
      }
    }
  }

  private void checkValue(double value) {
    if (!Elements.accepts(dtype, value)) {
      throw new IllegalArgumentException("value is " + value + "; expected "
          + (dtype == DType.INT32 ? "a 32-bit integer" : "a power of two from 2^-127 to 2^127, or NaN"));
    }
  }

  private long byteOffset(long[] index) {
    Check.given("index", index, "one for each dimension");
    if (index.length != shape.length) {
      throw new IllegalArgumentException("index is " + Arrays.toString(index) + "; expected " + shape.length
          + " numbers, for shape " + Arrays.toString(shape));
    }
    long offset = 0;
    for (int i = 0; i < index.length; i++) {
      if (index[i] < 0 || index[i] >= shape[i]) {
        throw new IllegalArgumentException("index is " + Arrays.toString(index) + "; expected it within "
            + Arrays.toString(shape));
      }
      offset += index[i] * strides[i];
    }
    return offset * dtype.bytes();
  }

  /** Of the element with this number in row-major order. */
  private long byteOffset(long number) {
    if (compact) {
      return number * dtype.bytes();
    }
    long offset = 0;
    long rest = number;
    for (int i = shape.length - 1; i >= 0; i--) {
      offset += rest % shape[i] * strides[i];
      rest /= shape[i];
    }
    return offset * dtype.bytes();
  }

  private static long[] checkedShape(long[] shape) {
    Check.given("shape", shape, "dimensions");
    if (shape.length > MAX_RANK) {
      throw new IllegalArgumentException("shape is " + Arrays.toString(shape) + "; expected at most " + MAX_RANK
          + " dimensions");
    }
    for (long dim : shape) {
      if (dim < 0) {
        throw new IllegalArgumentException("shape is " + Arrays.toString(shape) + "; expected no dimension below 0");
      }
    }
    Check.size("shape", shape);
    return shape.clone();
  }

  private static long count(long[] shape) {
    long count = 1;
    for (long dim : shape) {
      count = Math.multiplyExact(count, dim);
    }
    return count;
  }

  static long[] compactStrides(long[] shape) {
    var strides = new long[shape.length];
    long step = 1;
    for (int i = shape.length - 1; i >= 0; i--) {
      strides[i] = step;
      step *= Math.max(1, shape[i]);
    }
    return strides;
  }

  private static boolean isCompact(long[] shape, long[] strides) {
    long step = 1;
    for (int i = shape.length - 1; i >= 0; i--) {
      if (shape[i] == 0) {
        return true;
      }
      if (shape[i] > 1 && strides[i] != step) {
        return false;
      }
      step *= shape[i];
    }
    return true;
  }

  /** Bytes from the first element to behind the last. */
  static long span(DType type, long[] shape, long[] strides) {
    try {
      long elements = 1;
      for (int i = 0; i < shape.length; i++) {
        if (shape[i] == 0) {
          return 0;
        }
        elements = Math.addExact(elements, Math.multiplyExact(shape[i] - 1, strides[i]));
      }
      return Math.multiplyExact(elements, (long) type.bytes());
    } catch (ArithmeticException e) {
      throw new IllegalArgumentException("strides is " + Arrays.toString(strides) + "; expected smaller ones, for shape "
          + Arrays.toString(shape), e);
    }
  }
}
