/** A promise that is settled from outside. It need not be awaited. */
export class Ready<Value> {
  promise!: Promise<Value>;
  resolve!: (value: Value) => void;
  /** Why there is nothing to wait for; undefined while there is hope, or when it has come. */
  error: Error | undefined;
  #reject!: (error: Error) => void;

  constructor() {
    this.#make();
  }

  reject(error: Error): void {
    this.error = error;
    this.#reject(error);
  }

  /** After a rejection: a new promise. */
  renew(): void {
    if (this.error) this.#make();
  }

  #make(): void {
    this.error = undefined;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.#reject = reject;
    });
    this.promise.catch(() => undefined); // a rejection that is not awaited is not an error of the page
  }
}
