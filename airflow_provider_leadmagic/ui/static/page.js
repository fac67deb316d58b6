// Use the color mode of Airflow around the page, which can differ from that of the system.
(() => {
  if (window.parent === window) return;
  const airflow = window.parent.document.documentElement;
  const follow = () => {
    document.documentElement.dataset.theme = airflow.classList.contains("dark") ? "dark" : "light";
  };
  follow();
  new MutationObserver(follow).observe(airflow, { attributeFilter: ["class"] });
})();
