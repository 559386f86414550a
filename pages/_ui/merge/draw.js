// A drawing of SIDE × SIDE pixels, sent to Python after each stroke as one hexadecimal
// digit of ink a pixel, rows from the top.
const SIDE = 64;
// About the share of ink that handwriting has in the digits data, where strokes are bold.
const PEN_WIDTH = 7;

function encode(context) {
  const { data } = context.getImageData(0, 0, SIDE, SIDE);
  let text = "";
  for (let i = 3; i < data.length; i += 4) text += Math.round(data[i] / 17).toString(16);
  return text;
}

function decode(context, text) {
  const image = context.createImageData(SIDE, SIDE);
  image.data.fill(255);
  for (let i = 0; i < text.length; i++) image.data[4 * i + 3] = 17 * parseInt(text[i], 16);
  context.putImageData(image, 0, 0);
}

function position(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [
    ((event.clientX - box.left) * SIDE) / box.width,
    ((event.clientY - box.top) * SIDE) / box.height,
  ];
}

export default function ({ parentElement, data, setStateValue }) {
  const canvas = parentElement.querySelector("canvas");
  // Every rerun of the app comes through here; only the first finds a blank canvas.
  if (canvas.dataset.ready) return;
  canvas.dataset.ready = "yes";

  const context = canvas.getContext("2d", { willReadFrequently: true });
  Object.assign(context, { lineWidth: PEN_WIDTH, lineCap: "round", lineJoin: "round" });
  context.strokeStyle = context.fillStyle = "#fff";
  if (data?.drawing) decode(context, data.drawing);

  let last = null;
  const send = () => setStateValue("drawing", encode(context));
  const draw = (event) => {
    const next = position(canvas, event);
    context.beginPath();
    context.moveTo(...last);
    context.lineTo(...next);
    context.stroke();
    last = next;
  };
  const clear = () => {
    context.clearRect(0, 0, SIDE, SIDE);
    send();
  };

  canvas.onpointerdown = (event) => {
    if (last || event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    last = position(canvas, event);
    // A line without length leaves no ink; a tap should.
    context.beginPath();
    context.arc(...last, PEN_WIDTH / 2, 0, 2 * Math.PI);
    context.fill();
  };
  canvas.onpointermove = (event) => {
    if (!last || !canvas.hasPointerCapture(event.pointerId)) return;
    // A fast hand moves several times between two frames.
    const moves = event.getCoalescedEvents?.() ?? [];
    (moves.length ? moves : [event]).forEach(draw);
  };
  // Sent however the stroke ends: lifted, or taken over by the browser.
  canvas.onlostpointercapture = () => {
    last = null;
    send();
  };
  canvas.onkeydown = (event) => {
    if (event.key === "Delete" || event.key === "Backspace") clear();
  };
  parentElement.querySelector("button").onclick = clear;
}
