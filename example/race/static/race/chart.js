// @ts-check
// The speeds of all boats as lines on a canvas.

const SPAN = 30_000; // milliseconds across the chart
const FASTEST = 3;
const TOP = 16; // knots at its upper edge; the page writes the numbers beside it

/** Lines that move to the left. What was drawn is shifted, so a frame costs one step of each boat, however long the chart. */
export class Chart {
  /** @type {Map<number, { knots: number, drawn: number }>} */ boats = new Map();
  #canvas;
  #context;
  #last = performance.now();

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    new ResizeObserver(() => {
      this.#canvas.width = this.#canvas.clientWidth * devicePixelRatio;
      this.#canvas.height = this.#canvas.clientHeight * devicePixelRatio;
    }).observe(this.#canvas);
  }

  /** The fastest boats, the first first. */
  get leaders() {
    return [...this.boats].sort(([, one], [, other]) => other.knots - one.knots).slice(0, FASTEST).map(([boat]) => boat);
  }

  /** @param {number} now @param {number[]} leaders */
  draw(now, leaders) {
    const { width, height } = this.#canvas;
    const step = Math.floor(((now - this.#last) / SPAN) * width);
    if (step < 1) return;
    this.#last += (step / width) * SPAN; // the rest of a pixel counts for the next frame
    const style = getComputedStyle(this.#canvas);
    const colours = ["--tide", "--brass", "--buoy"].map((name) => style.getPropertyValue(name));
    this.#context.globalCompositeOperation = "copy"; // what is shifted takes the place of what was there
    this.#context.drawImage(this.#canvas, -step, 0);
    this.#context.globalCompositeOperation = "source-over";
    this.#context.lineWidth = devicePixelRatio;
    for (const [boat, each] of this.boats) {
      const place = leaders.indexOf(boat);
      const y = height * (1 - each.knots / TOP);
      this.#context.strokeStyle = place < 0 ? style.getPropertyValue("--halyard") : colours[place];
      this.#context.globalAlpha = place < 0 ? 0.25 : 1;
      this.#context.beginPath();
      this.#context.moveTo(width - step - 1, each.drawn || y);
      this.#context.lineTo(width - 1, y);
      this.#context.stroke();
      each.drawn = y;
    }
    this.#context.globalAlpha = 1;
  }
}
