// By the system's setting, now and whenever it changes.
const dark = matchMedia("(prefers-color-scheme: dark)");
const viewer = document.querySelector("rapi-doc");
const paint = () => {
  viewer.setAttribute("theme", dark.matches ? "dark" : "light");
  viewer.setAttribute("nav-bg-color", dark.matches ? "#262624" : "#f4f4f2");
  viewer.setAttribute("primary-color", dark.matches ? "#e0915f" : "#8a3b12");
};
dark.addEventListener("change", paint);
paint();
