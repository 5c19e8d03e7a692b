# The page, for a machine of one's own: docker build -t atmoe . && docker run -p 7860:7860 -v atmoe:/home/user/.cache atmoe
FROM python:3.11-slim
WORKDIR /page
COPY requirements.txt ./
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -r requirements.txt
RUN useradd --create-home --uid 1000 user
USER user
# The base model is stored there at the first start; a volume keeps it.
RUN mkdir /home/user/.cache
COPY app.py LICENSE ./
COPY app app
COPY atmoe atmoe
COPY assets assets
EXPOSE 7860
HEALTHCHECK --start-period=5m CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/healthz', timeout=5)"]
ENTRYPOINT ["python", "app.py", "--host", "0.0.0.0", "--port", "7860"]
